"""What one device did in one power-up, by its own account."""

from __future__ import annotations

import random
from array import array


class Boot:
    """One power-up of one device: its messages have the numbers 1 to `sent`.

    Attributes:
        device_id, kind: whose, and how it carries its context (`carriage.KINDS`).
        nonce: 5 bytes. prefix: 4 bytes before seq in the parent-id. tail: the last 7 bytes of the trace-ids.
        sent: the highest number given to the network; it may or may not have arrived.
        acked_at: by number less one, the second of the soak at which the broker's PUBACK came; 0 for never.
        acked: how many PUBACKs came.
    """

    __slots__ = ("acked", "acked_at", "device_id", "kind", "nonce", "prefix", "sent", "tail")

    def __init__(self, device_id: str, kind: str, chance: random.Random) -> None:
        self.device_id = device_id
        self.kind = kind
        self.nonce = chance.randbytes(5)
        self.prefix = b"\x7f" + chance.randbytes(3)
        self.tail = chance.randbytes(6) + b"\x01"
        self.sent = 0
        self.acked = 0
        self.acked_at = array("f")

    def next(self) -> int:
        """The number of the next message."""
        self.sent += 1
        self.acked_at.append(0.0)
        return self.sent

    def acknowledged(self, seq: int, at_s: float) -> None:
        """The broker has it."""
        if not self.acked_at[seq - 1]:
            self.acked_at[seq - 1] = max(at_s, 0.001)
            self.acked += 1

    def is_acked(self, seq: int) -> bool:
        """Whether the broker acknowledged this number."""
        return self.acked_at[seq - 1] > 0

    def trace_id(self, seq: int) -> bytes:
        """Of a device that makes its own."""
        return self.nonce + seq.to_bytes(4, "big") + self.tail

    def parent_id(self, seq: int) -> bytes:
        """Of a device that makes its own."""
        return self.prefix + seq.to_bytes(4, "big")
