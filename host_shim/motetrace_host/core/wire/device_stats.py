"""The stats message: what a device says became of its own messages."""

from __future__ import annotations

import re
from binascii import unhexlify
from dataclasses import dataclass
from typing import Final

import msgspec

from motetrace_host.core.errors import WireError
from motetrace_host.core.ledger.store import SeenRuns

FAILED_HOP: Final = "device.failed"
MAX_BYTES: Final = 4096
MAX_RANGES: Final = 8
MAX_COUNTERS: Final = 32
MAX_SEQ: Final = 2**32 - 1
MAX_COUNT: Final = 2**62 - 1
_MAX_NAME: Final = 64
_NONCE: Final = re.compile(r"[0-9a-f]{10}")


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
_decoder = msgspec.json.Decoder(_Wire)
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
        free_bytes: Heap that was free, None where the interpreter does not tell.
        counters: Of other parts of the device by name, at most 32.
    """

    boot_nonce: bytes
    last_seq: int
    failed: tuple[tuple[int, int], ...] = ()
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
    """Read a stats message.

    Args:
        payload: JSON object, at most 4096 bytes; unknown members that are whole numbers are counters, others are
            ignored.
    Raises:
        WireError: `stats_size`, `stats_format` (not JSON, a member missing or of the wrong type), `stats_version` (not
            1), `stats_nonce` (not 10 lower-case hex digits), `stats_seq` (outside 0..2**32-1), `stats_failed` (more
            than 8 ranges, or one that is not within 0..seq), `stats_count` (a count below 0 or above 2**62-1).
    Source: docs/device-messages.md, "stats".
    """
    if len(payload) > MAX_BYTES:
        raise WireError("stats_size", f"stats has {len(payload)} bytes; at most {MAX_BYTES}")
    try:
        wire = _decoder.decode(payload)
        members = _members.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("stats_format", f"stats is not the expected JSON object: {str(error)[:200]}") from error
    if wire.v != 1:
        raise WireError("stats_version", f"stats has version {str(wire.v)[:30]}; this host reads version 1")
    if not _NONCE.fullmatch(wire.nonce):
        raise WireError("stats_nonce", f"stats' nonce {wire.nonce[:20]!r} is not 10 lower-case hex digits")
    if not 0 <= wire.seq <= MAX_SEQ:
        raise WireError("stats_seq", f"stats' seq {str(wire.seq)[:30]} is outside 0..{MAX_SEQ}")
    _check_counts(wire)
    return DeviceStats(
        unhexlify(wire.nonce),
        wire.seq,
        _ranges(wire.failed, wire.seq),
        wire.more,
        wire.acked,
        wire.lost,
        wire.pending,
        wire.rtt_ms,
        wire.ticks_ms,
        wire.free_bytes,
        _counters(members),
    )


def _check_counts(wire: _Wire) -> None:
    for name in ("more", "acked", "lost", "pending", "rtt_ms", "ticks_ms", "free_bytes"):
        value = getattr(wire, name)
        if value is not None and not 0 <= value <= MAX_COUNT:
            raise WireError("stats_count", f"stats' {name} {str(value)[:30]} is outside 0..2**62-1")


def _ranges(failed: list[tuple[int, int]], last_seq: int) -> tuple[tuple[int, int], ...]:
    """Sort the ranges and join what overlaps: a device tells a range again when it grew."""
    if len(failed) > MAX_RANGES:
        raise WireError("stats_failed", f"stats has {len(failed)} failed ranges; at most {MAX_RANGES}")
    joined: list[tuple[int, int]] = []
    for first, last in sorted(failed):
        if not 0 <= first <= last <= last_seq:
            raise WireError(
                "stats_failed", f"stats' failed range {str(first)[:30]}..{str(last)[:30]} is not within 0..{last_seq}"
            )
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def _counters(members: dict[str, msgspec.Raw]) -> tuple[tuple[str, int], ...]:
    found = []
    for name, raw in members.items():
        text = bytes(raw)
        if name not in _KNOWN and len(name) <= _MAX_NAME and len(text) <= 18 and text.isdigit():
            found.append((name, int(text)))
    return tuple(found[:MAX_COUNTERS])
