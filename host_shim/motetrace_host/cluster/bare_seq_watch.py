"""Devices that send a bare seq and are read by more than one shim: their boots are then inferred by each for itself.

A shim infers boots from the order in which numbers come. On a round-robin subscription each sees every second or third
number, so each infers boots of its own, and the numbers that went to the others look lost in them. Each message is
still counted once. The remedies: a broker that keeps a device on one shim, one shim for such topics, or a seqref.

Why the states are not shared instead: the nonce of an inferred boot is in the trace-id, and the batches of two shims
are stored in no particular order, so a message would have its trace only after all earlier ones are stored, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from motetrace_host.shim.device_topics import BootRun

REASON = "bare_seq_shared"
_HOUR_NS = 3_600_000_000_000
_MAX_DEVICES = 100_000


class Attendance(Protocol):
    """What is needed of the shared ledger."""

    def attend(self, devices: Iterable[str]) -> set[str]: ...


class BareSeqWatch:
    """Tells the shared ledger once an hour which devices this shim infers boots of.

    Args:
        on_shared: told devices that another shim reads too, each once.
    """

    def __init__(self, attendance: Attendance, on_shared: Callable[[set[str]], None]) -> None:
        self._attendance = attendance
        self._on_shared = on_shared
        self._hour = 0
        self._attended: set[str] = set()
        self._told: set[str] = set()

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
        shared = self._attendance.attend(devices) - self._told
        self._attended |= devices
        if shared and len(self._told) < _MAX_DEVICES:
            self._told |= shared
            self._on_shared(shared)
