"""The boots of each device: which of their numbers the batch in work brought, and whose message was read last."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from motetrace_host.core.messages.clones import BootTurns
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.nonces import Nonces


class BootRun:
    """The numbers of one boot that the batch in work brought, as runs.

    Attributes:
        start, end: the run that grows, meaningless unless `open`.
        open: it has runs of the batch in work; to be taken back when that is done.
        before: the runs before the one that grows; of an earlier batch unless `open`.
        known: its boot is in the ledger. checked: `Nonces` was asked about it.
        expected_first: the number it is known to have begun with, None when its birth did not come as it happened.
    """

    __slots__ = (
        "before", "boot_nonce", "checked", "device_id", "end", "expected_first", "inferred", "known", "open", "start",
    )  # fmt: skip

    def __init__(self, device_id: str, boot_nonce: bytes) -> None:
        self.device_id = device_id
        self.boot_nonce = boot_nonce
        self.start = self.end = 0
        self.before: list[tuple[int, int]] = []
        self.open = False
        self.known = self.checked = False
        self.inferred = False
        self.expected_first: int | None = None

    def begin(self, seq: int) -> None:
        """Begin a run; the one that grew is kept, those of the batch before are not."""
        if self.open:
            self.before.append((self.start, self.end))
        elif self.before:
            self.before.clear()
        self.start = self.end = seq
        self.open = True


class DeviceBoots:
    """The boots of one device id; the same on all of its topics.

    Attributes:
        runs: by boot nonce.
        last: the boot of the message read last, None before the first; boots that are inferred do not count.
        turns: what `core/messages/clones.py` remembers, None while there was one boot only.
    """

    __slots__ = ("device_id", "last", "runs", "turns")

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.runs: dict[bytes, BootRun] = {}
        self.last: BootRun | None = None
        self.turns: BootTurns | None = None


class BootRuns:
    """The boots of all devices, and what is looked at when a device's messages begin to be of another boot.

    Args:
        live: boots (device, nonce) whose birth came as it happened: they began with number 1.
    """

    def __init__(
        self, live: AbstractSet[tuple[str, bytes]], replies: CommandReplies, nonces: Nonces, clones: CloneWatch
    ) -> None:
        self._live = live
        self._replies = replies
        self._nonces = nonces
        self._clones = clones
        self._devices: dict[str, DeviceBoots] = {}
        self._boots = 0

    def of(self, device_id: str) -> DeviceBoots:
        """The boots of a device."""
        found = self._devices.get(device_id)
        if found is None:
            found = self._devices[device_id] = DeviceBoots(device_id)
        return found

    def enter(self, device: DeviceBoots, boot_nonce: bytes, received_unix_ns: int) -> BootRun:
        """The runs of a boot that a message names and that is not the boot of the device's message before."""
        run = device.runs.get(boot_nonce) or self._add(device, boot_nonce)
        if not run.checked:
            run.checked = True
            self._replies.learn(device.device_id, boot_nonce)
            self._nonces.meet(device.device_id, boot_nonce, received_unix_ns)
        before, device.last = device.last, run
        if before is not None:
            device.turns = self._clones.boot_changed(
                device.device_id, device.turns, before.boot_nonce, boot_nonce, received_unix_ns
            )
        return run

    def inferred(self, device: DeviceBoots, boot_nonce: bytes) -> BootRun:
        """The runs of a boot that was inferred from the numbers of its messages."""
        run = device.runs.get(boot_nonce)
        if run is None:
            run = self._add(device, boot_nonce)
            run.inferred = True
        return run

    def clear(self) -> None:
        """Forget all of them; the ledger has what counts."""
        self._devices.clear()
        self._boots = 0

    def __len__(self) -> int:
        return self._boots

    def _add(self, device: DeviceBoots, boot_nonce: bytes) -> BootRun:
        run = device.runs[boot_nonce] = BootRun(device.device_id, boot_nonce)
        run.expected_first = 1 if (device.device_id, boot_nonce) in self._live else None
        self._boots += 1
        return run
