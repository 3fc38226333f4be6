"""Which message of a device an answer to a command is.

An answer continues the command's trace, so its trace-id names no boot and no seq of this device. Its parent-id does:
the last 4 bytes of the boot nonce, then seq. Without this each answer would look like a lost message.
"""

from __future__ import annotations

from motetrace_host.shim.database_retry import RetryingReads

_MAX_BOOTS = 16  # the latest of a device that an answer may come from


class CommandReplies:
    """The boots of devices, by the part of their nonce that an answer carries; of at most `max_devices` in memory."""

    def __init__(self, ledger: RetryingReads, max_devices: int = 200_000) -> None:
        self._ledger = ledger
        self._max_devices = max_devices
        self._boots: dict[str, dict[bytes, bytes]] = {}

    def learn(self, device_id: str, boot_nonce: bytes) -> None:
        """A boot was seen: in a message of its own, or in a birth."""
        boots = self.tails(device_id)
        if boots.get(boot_nonce[1:]) != boot_nonce:
            if len(boots) >= _MAX_BOOTS:
                del boots[next(iter(boots))]
            boots[boot_nonce[1:]] = boot_nonce

    def boot_nonce(self, device_id: str, parent_id: bytes) -> bytes | None:
        """The boot whose answer has this parent-id; None when it is no answer of this device.

        A foreign parent-id passes for an answer once in 2**32 for each boot that is known of the device.
        Source: docs/wire-format.md, "Answers to commands".
        """
        return self.tails(device_id).get(parent_id[:4])

    def tails(self, device_id: str) -> dict[bytes, bytes]:
        """The boots of a device by the last 4 bytes of their nonces."""
        boots = self._boots.get(device_id)
        if boots is None:
            if len(self._boots) >= self._max_devices:
                del self._boots[next(iter(self._boots))]
            latest = self._ledger.latest_nonces(device_id, _MAX_BOOTS)
            boots = self._boots[device_id] = {nonce[1:]: nonce for nonce in reversed(latest)}
        return boots
