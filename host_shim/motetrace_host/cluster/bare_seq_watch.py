"""Devices that send a bare seq and are read by more than one shim: their boots are then inferred by each for itself.

A shim infers boots from the order in which numbers come. On a round-robin subscription each sees every second or third
number, so each infers boots of its own, and the numbers that went to the others look lost in them. Each message is
still counted once. The remedies: a broker that keeps a device on one shim, one shim for such topics, or a seqref.

Why the states are not shared instead: the nonce of an inferred boot is in the trace-id, and the batches of two shims
are stored in no particular order, so a message would have its trace only after all earlier ones are stored, everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from motetrace_host.core.printable import printable
from motetrace_host.shim.boot_runs import BootRun
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.logging import Log

if TYPE_CHECKING:
    from motetrace_host.cluster.redis_ledger import RedisSeen

REASON = "bare_seq_shared"
_HOUR_NS = 3_600_000_000_000
_MAX_DEVICES = 100_000


class BareSeqWatch:
    """Notes in the shared ledger, once an hour, which devices this shim infers boots of.

    A device that another shim reads too is counted and logged once.
    """

    def __init__(self, ledger: RedisSeen, counters: Counters, log: Log) -> None:
        self._ledger = ledger
        self._counters = counters
        self._log = log
        self._hour = 0
        self._attended: set[str] = set()
        self._reported: set[str] = set()

    def look(self, runs: Iterable[BootRun], received_unix_ns: int) -> None:
        """Look at the boots of a batch. Raises StoreError, and then looks at them again."""
        devices = {run.device_id for run in runs if run.inferred}
        if not devices:
            return
        hour = received_unix_ns // _HOUR_NS
        if hour != self._hour or len(self._attended) > _MAX_DEVICES:
            self._hour = hour
            self._attended.clear()
        devices -= self._attended
        if not devices:
            return
        shared = self._ledger.attend(devices) - self._reported
        self._attended |= devices
        if shared and len(self._reported) < _MAX_DEVICES:
            self._reported |= shared
            self._report(shared)

    def _report(self, devices: set[str]) -> None:
        for device_id in devices:
            self._counters.reject(device_id, REASON)
        self._log.warning(
            REASON,
            **{"device.id": printable(min(devices))},
            devices=len(devices),
            reason="another shim reads this device too, and each infers boots of its own: losses are false",
            remedy="let the broker keep a device on one shim, read such topics with one shim, or send a seqref",
        )
