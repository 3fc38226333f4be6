"""Context behind a binary payload, for topics whose payloads have no room for it inside.

    payload || context || check || length || F5 4D

context is W3C's binary traceparent (29 bytes) or a binary seqref (10); check is a CRC-8 over it; length is the number
of its bytes. F5 never occurs in UTF-8, so no text ends in a trailer; a binary payload ends in one by chance once in
2**32, which is why it is looked for only on topics that are configured so.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire.seqref import Seqref
from motetrace_host.core.wire.traceparent import KNOWN_FLAGS, TraceParent

MAGIC: Final = b"\xf5\x4d"
TRACEPARENT_LENGTH: Final = 29
SEQREF_LENGTH: Final = 10
OVERHEAD: Final = 4
_POLYNOMIAL: Final = 0x07


class Trailer(NamedTuple):
    """The context at the end of one payload.

    Args:
        context: A TraceParent, or a Seqref (age_ms is None: age has no place in a trailer).
        size: 33 or 14, the bytes that are to be cut off the payload.
    Source: docs/wire-format.md, "binary trailer".
    """

    context: TraceParent | Seqref
    size: int


def parse(payload: bytes) -> Trailer | None:
    """Read the trailer of a payload; looks at no more than its last 33 bytes.

    Args:
        payload: As received, any bytes.
    Returns:
        The trailer, or None when the payload does not end in F5 4D.
    Raises:
        WireError: `trailer_length` (neither 1d nor 0a, or longer than the payload), `trailer_check`, `trailer_format`
            (another version, or W3C's field ids are not where they belong), `trailer_zero_trace_id`,
            `trailer_zero_parent_id`, `trailer_zero_seq`. The payload is then to be passed on as it is.
    Source: docs/wire-format.md, "binary trailer"; tests/vectors/trailer.json.
    """
    if payload[-2:] != MAGIC:
        return None
    length = payload[-3] if len(payload) >= OVERHEAD else 0
    if length not in (TRACEPARENT_LENGTH, SEQREF_LENGTH) or len(payload) < length + OVERHEAD:
        raise WireError(
            "trailer_length",
            f"trailer of a payload of {len(payload)} bytes says its context has {length}; "
            f"it has {TRACEPARENT_LENGTH} or {SEQREF_LENGTH}",
        )
    size = length + OVERHEAD
    context = bytes(payload[-size:-OVERHEAD])
    if check(context) != payload[-OVERHEAD]:
        raise WireError(
            "trailer_check", f"trailer's check is {payload[-OVERHEAD]:02x}; over its context it is {check(context):02x}"
        )
    return Trailer(_traceparent(context) if length == TRACEPARENT_LENGTH else _seqref(context), size)


def strip(payload: bytes) -> bytes:
    """Take a valid trailer off any payload; one without a trailer, or with a broken one, stays as it is."""
    try:
        trailer = parse(payload)
    except WireError:
        return payload
    return payload if trailer is None else payload[: -trailer.size]


def check(context: bytes) -> int:
    """Compute the check byte of any bytes: CRC-8, polynomial 07, begun with 00, not reflected; "123456789" gives f4."""
    crc = 0
    for byte in context:
        crc = _TABLE[crc ^ byte]
    return crc


def _traceparent(context: bytes) -> TraceParent:
    """Read W3C's binary form: version, then trace-id, parent-id and flags, each behind its field id."""
    if context[0] != 0 or context[1] != 0 or context[18] != 1 or context[27] != 2:
        raise WireError(
            "trailer_format",
            f"trailer's traceparent {context.hex()} is not 00, 00 trace-id, 01 parent-id, 02 flags",
        )
    trace_id, parent_id = context[2:18], context[19:27]
    if not any(trace_id):
        raise WireError("trailer_zero_trace_id", "trailer's trace-id is all zero; draw a random one")
    if not any(parent_id):
        raise WireError("trailer_zero_parent_id", "trailer's parent-id is all zero; draw a random one")
    return TraceParent(trace_id, parent_id, context[28] & KNOWN_FLAGS)


def _seqref(context: bytes) -> Seqref:
    """Read boot nonce, seq and flags."""
    seq = int.from_bytes(context[5:9], "big")
    if seq == 0:
        raise WireError("trailer_zero_seq", "trailer's seq is 0; the first message of a boot has seq 1")
    return Seqref(context[:5], seq, context[9] & KNOWN_FLAGS)


def _remainder(byte: int) -> int:
    """Divide one byte, shifted left by 8, by the polynomial."""
    for _ in range(8):
        byte = (byte << 1) ^ (_POLYNOMIAL | 0x100 if byte & 0x80 else 0)
    return byte


_TABLE: Final = bytes(map(_remainder, range(256)))
