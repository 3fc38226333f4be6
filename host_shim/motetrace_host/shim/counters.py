"""What the shim did, in numbers: for the summary in the log, and for the ledger's rejections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MAX_DEVICES = 10_000


class Counters:
    """Counts. Written by the pipeline's thread, read by others for display.

    Args:
        known_devices: those that have rejections in the ledger already; together with new ones at most `MAX_DEVICES`
            are told apart, the others are counted under ''.
    """

    def __init__(self, known_devices: Iterable[str] = ()) -> None:
        self.received = 0
        self.stored = 0
        self.duplicates = 0
        self.retained = 0
        self.births = 0
        self.republished = 0
        self.clones = 0
        self.rejected: Counter[str] = Counter()
        self._unsaved: Counter[tuple[str, str]] = Counter()
        self._devices = set(known_devices)

    def reject(self, device_id: str, reason: str) -> None:
        """Count a rejection; `device_id` is '' when the topic did not name one."""
        self.rejected[reason] += 1
        self._unsaved[self._told_apart(device_id), reason] += 1

    def unsaved(self, faults: Iterable[tuple[str, str]] = ()) -> dict[tuple[str, str], int]:
        """Rejections that the ledger does not have yet, and `faults` (device, reason) of messages new in it.

        The faults are counted by `saved` only: a batch that the disk refuses is written again.
        """
        return dict(self._unsaved + Counter((self._told_apart(device_id), reason) for device_id, reason in faults))

    def saved(self, counts: dict[tuple[str, str], int], faults: Iterable[tuple[str, str]] = ()) -> None:
        """The ledger has these now: what `unsaved` gave for these faults."""
        for device_id, reason in faults:
            self.reject(device_id, reason)
        self._unsaved -= Counter(counts)

    def _told_apart(self, device_id: str) -> str:
        if device_id not in self._devices:
            if len(self._devices) >= MAX_DEVICES:
                return ""
            self._devices.add(device_id)
        return device_id

    def summary(self) -> dict[str, int | dict[str, int]]:
        """For the log."""
        return {
            "received": self.received,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "retained": self.retained,
            "births": self.births,
            "republished": self.republished,
            "clones": self.clones,
            "rejected": dict(self.rejected),
        }
