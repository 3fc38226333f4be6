"""The stats message: what became of a device's messages, as the device counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from motetrace_host.core.ledger.runs import MAX_SEQ, Run, merged
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.wire.side_message import SideMessage, cut

FAILED_HOP: Final = "device.failed"
MAX_RANGES: Final = 8
MAX_COUNTERS: Final = 32
MAX_COUNT: Final = 2**62 - 1
_MAX_NAME: Final = 64


class _Wire(msgspec.Struct):
    v: int
    nonce: str
    seq: int
    failed: list[tuple[int, int]] = msgspec.field(default_factory=list)
    more: int = 0
    acked: int = 0
    lost: int = 0
    pending: int = 0
    rtt_ms: int | None = None
    ticks_ms: int | None = None
    free_bytes: int | None = None


_KNOWN: Final = frozenset(_Wire.__struct_fields__)
_COUNTS: Final = ("more", "acked", "lost", "pending", "rtt_ms", "ticks_ms", "free_bytes")
_MESSAGE: Final = SideMessage(_Wire, "stats", "stats", 4096)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """One stats message.

    Attributes:
        boot_nonce: 5 bytes.
        last_seq: The last number that was assigned, 0..2**32-1: what is above the highest number seen, up to here,
            was lost after it.
        failed: (first, last), inclusive, at most 8: numbers whose publish raised or was refused.
        more: How many further ones failed since the last message; to be added up.
        acked, lost, pending: Publishes at QoS 1 since boot: acknowledged, given up waiting for, still waited for.
        rtt_ms: The smallest time from a publish to its PUBACK, None before the first.
        ticks_ms: The device's milliseconds when it wrote this.
        free_bytes: Heap that was free, None where the interpreter does not give it.
        counters: Of other parts of the device by name, at most 32.
    """

    boot_nonce: bytes
    last_seq: int
    failed: tuple[Run, ...] = ()
    more: int = 0
    acked: int = 0
    lost: int = 0
    pending: int = 0
    rtt_ms: int | None = None
    ticks_ms: int | None = None
    free_bytes: int | None = None
    counters: tuple[tuple[str, int], ...] = ()

    def seen_runs(self, device_id: str, received_unix_ms: int) -> list[SeenRuns]:
        """Give what the ledger is to add: the numbers that never left the device."""
        if not self.failed:
            return []
        return [SeenRuns(device_id, self.boot_nonce, FAILED_HOP, self.failed, received_unix_ms)]


def parse(payload: bytes) -> DeviceStats:
    """Read a stats message, a JSON object of at most 4096 bytes.

    Unknown members that are whole numbers are counters, others are ignored.
    Raises:
        WireError: `stats_size`, `stats_format`, `stats_version`, `stats_nonce`, `stats_seq` (outside 0..2**32-1),
            `stats_count` (a count outside 0..2**62-1), `stats_failed` (more than 8 ranges, or one not within 0..seq).
    Source: docs/device-messages.md, "stats".
    """
    wire = _MESSAGE.read(payload)
    nonce = _MESSAGE.nonce(wire.nonce)
    if not 0 <= wire.seq <= MAX_SEQ:
        raise _MESSAGE.fault("seq", f"has seq {cut(wire.seq)}, outside 0..{MAX_SEQ}")
    counts = {name: getattr(wire, name) for name in _COUNTS}
    for name, value in counts.items():
        if value is not None and not 0 <= value <= MAX_COUNT:
            raise _MESSAGE.fault("count", f"has {name} {cut(value)}, outside 0..2**62-1")
    failed = _ranges(wire.failed, wire.seq)
    with _MESSAGE.decoding():
        counters = _counters(_members.decode(payload))
    return DeviceStats(nonce, wire.seq, failed, counters=counters, **counts)


def _ranges(failed: list[Run], last_seq: int) -> tuple[Run, ...]:
    """Sort the ranges and join what overlaps: a device sends a range again when it grew."""
    if len(failed) > MAX_RANGES:
        raise _MESSAGE.fault("failed", f"has {len(failed)} failed ranges; at most {MAX_RANGES}")
    for first, last in failed:
        if not 0 <= first <= last <= last_seq:
            raise _MESSAGE.fault("failed", f"has failed range {cut(first)}..{cut(last)}, not within 0..{last_seq}")
    return tuple(merged(failed))


def _counters(members: dict[str, msgspec.Raw]) -> tuple[tuple[str, int], ...]:
    texts = [(name, bytes(raw)) for name, raw in members.items() if name not in _KNOWN and len(name) <= _MAX_NAME]
    return tuple([(name, int(text)) for name, text in texts if len(text) <= 18 and text.isdigit()][:MAX_COUNTERS])
