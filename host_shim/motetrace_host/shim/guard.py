"""What becomes of a message that breaks what reads or stores it."""

from __future__ import annotations

from motetrace_host.core.printable import printable
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.logging import Log

INTERNAL_ERROR = "internal_error"


class Guard:
    """Counts such messages by device and logs them; who calls it goes on with the next one."""

    def __init__(self, counters: Counters, log: Log) -> None:
        self._counters = counters
        self._log = log

    def pass_over(self, device_id: str, error: Exception) -> None:
        """Count and log one; `device_id` is "" when it is not known."""
        self._counters.reject(device_id, INTERNAL_ERROR)
        self._log.error(
            "message_broke_the_reader",
            **{"device.id": printable(device_id)},
            reason=INTERNAL_ERROR,
            error=printable(f"{type(error).__name__}: {error}"),
            remedy="the message was counted and passed over; please report this as a bug",
        )
