"""What the shim did, in numbers: for the summary in the log, and for the ledger's rejections."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from motetrace_host.core.printable import printable
from motetrace_host.shim.logging import Log
from motetrace_host.storage.side_tables import REJECTIONS, Rejection

MAX_DEVICES = 10_000
INTERNAL_ERROR = "internal_error"
_Rejection = tuple[str, str]
"""Device ('' when it is not known) and reason."""


class Counters:
    """What the shim counts since its start; written by the pipeline's thread, read by others for display.

    Args:
        known_devices: those that have rejections in the ledger already; together with new ones at most `MAX_DEVICES`
            are counted by themselves, the others are counted under ''.
    """

    def __init__(self, log: Log, known_devices: Iterable[str] = ()) -> None:
        self._log = log
        self.received = 0
        self.stored = 0
        self.duplicates = 0
        self.retained = 0
        self.births = 0
        self.republished = 0
        self.clones = 0
        self.rejected: Counter[str] = Counter()
        self._unsaved: Counter[_Rejection] = Counter()
        self._saving: tuple[Counter[_Rejection], Sequence[_Rejection]] = (Counter(), ())
        self._devices = set(known_devices)

    def reject(self, device_id: str, reason: str) -> None:
        """Count a rejection; `device_id` is '' when the topic did not name one."""
        self.rejected[reason] += 1
        self._unsaved[self._counted_as(device_id), reason] += 1

    def pass_over(self, device_id: str, error: Exception) -> None:
        """Count and log a message that broke what reads or stores it; who calls this goes on with the next one."""
        self.reject(device_id, INTERNAL_ERROR)
        self._log.error(
            "message_broke_the_reader",
            **{"device.id": printable(device_id)},
            reason=INTERNAL_ERROR,
            error=printable(f"{type(error).__name__}: {error}"),
            remedy="the message was counted and passed over; please report this as a bug",
        )

    def save(self, connection: sqlite3.Connection, faults: Sequence[_Rejection] = ()) -> None:
        """Write the rejections that the ledger does not have yet, inside the transaction of a batch.

        Args:
            faults: of the messages that are new in the batch. They are counted by `committed` only: a batch that the
                disk refuses is written again.
        """
        counts = self._unsaved + Counter((self._counted_as(device_id), reason) for device_id, reason in faults)
        self._saving = counts, faults
        REJECTIONS.save(connection, [Rejection(*key, count) for key, count in counts.items()])

    def committed(self) -> None:
        """Take what `save` wrote as written."""
        counts, faults = self._saving
        for device_id, reason in faults:
            self.reject(device_id, reason)
        self._unsaved -= counts

    def _counted_as(self, device_id: str) -> str:
        if device_id not in self._devices:
            if len(self._devices) >= MAX_DEVICES:
                return ""
            self._devices.add(device_id)
        return device_id

    def summary(self) -> dict[str, int | dict[str, int]]:
        """For the log."""
        names = ("received", "stored", "duplicates", "retained", "births", "republished", "clones")
        return {name: getattr(self, name) for name in names} | {"rejected": dict(self.rejected)}
