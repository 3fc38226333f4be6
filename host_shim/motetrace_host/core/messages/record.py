"""One message as 57 bytes: what the shim keeps of it in memory and on disk instead of span objects.

    offset  bytes
    0       16     trace-id
    16      8      span-id of device_publish
    24      5      boot nonce, five zeros when the message has no number
    29      4      seq
    33      8      receive time, Unix ns
    41      4      place: which device on which topic (storage/message_log.py)
    45      4      age in ms, ffffffff when the device sent none
    49      4      payload bytes
    53      1      trace-flags as the device sent them
    54      1      bit 0..1 QoS, 2..3 origin, 4..5 carrier, 6 numbered, 7 has an extra
    55      1      decision: why its spans are kept or not (core/sampling/head.py)
    56      1      threshold by which the rate decided, a number of the message log's table; 0: none

What few messages have (a foreign parent-id, tracestate, why there is no context) is a `RecordExtra` beside it.
Numbers are big-endian, so the first 9 bytes at offset 24 are also how a message is looked for in a block.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from motetrace_host.core.messages.message import IdentifiedMessage
from motetrace_host.core.sampling.reason import FIRST_KEEP

RECORD: Final = struct.Struct(">16s8s5sIqIIIBBBB")
SIZE: Final = RECORD.size
SEQ_AT: Final = 24
PLACE_AT: Final = 41
KIND_AT: Final = 54
DECISION_AT: Final = 55
NO_AGE: Final = 0xFFFFFFFF
NO_NONCE: Final = bytes(5)
_OWN_AGE: Final = re.compile(r"mt=a:[0-9a-f]{1,8}")

ORIGINS: Final = ("none", "traceparent", "seqref", "seq")
CARRIERS: Final = ("none", "user_property", "trailer", "json")
NUMBERED: Final = 0x40
HAS_EXTRA: Final = 0x80
# By name, ready to be put into byte 54.
ORIGIN_BITS: Final = {name: number << 2 for number, name in enumerate(ORIGINS)}
ORIGIN_MASK: Final = 0x0C
CARRIER_BITS: Final = {name: number << 4 for number, name in enumerate(CARRIERS)}


class RecordExtra(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True):
    """What few messages have; absent parts cost a byte or nothing.

    Attributes:
        parent_id: 8 bytes of a foreign traceparent, b"" for none.
        reason: why there is no context: the part of origin behind `none:`.
        tracestate: valid text, "" for none.
        message_key: 16 bytes by which a message without a number is known again, b"" for none.
        policy: what was done with its context, a number of `trust.Policy`.
        link_trace_id, link_span_id: 16 and 8 bytes of a context that is linked and not continued, b"" for none; then
            `tracestate` is that context's.
        held_s: whole seconds that the broker kept it, 0..2**32-1.
    """

    parent_id: bytes = b""
    reason: str = ""
    tracestate: str = ""
    message_key: bytes = b""
    policy: int = 0
    link_trace_id: bytes = b""
    link_span_id: bytes = b""
    held_s: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RecordExtra)


class Record(NamedTuple):
    """One unpacked record; see the table above.

    Attributes:
        boot_nonce: 5 bytes, NO_NONCE when not `numbered`.
        place: 1..2**32-1.
        age_ms: NO_AGE when the device sent none.
        kind: byte 54. decision: byte 55, a `Reason` as a number. threshold_id: byte 56.
    """

    trace_id: bytes
    span_id: bytes
    boot_nonce: bytes
    seq: int
    received_unix_ns: int
    place: int
    age_ms: int
    payload_bytes: int
    flags: int
    kind: int
    decision: int
    threshold_id: int

    @property
    def numbered(self) -> bool:
        """It belongs to a boot and has a number there."""
        return self.kind & NUMBERED != 0

    @property
    def kept(self) -> bool:
        """The head keeps its spans."""
        return self.decision >= FIRST_KEEP

    @property
    def inferred(self) -> bool:
        """Its boot was inferred by the host."""
        return self.kind & ORIGIN_MASK == ORIGIN_BITS["seq"]

    @property
    def qos(self) -> int:
        """0..2."""
        return self.kind & 3

    def origin(self, extra: RecordExtra) -> str:
        """How the context came about: traceparent, seqref, seq or none:<reason>."""
        name = ORIGINS[self.kind >> 2 & 3]
        return name if name != "none" else f"none:{extra.reason}"

    @property
    def carrier(self) -> str:
        """Where the context was found."""
        return CARRIERS[self.kind >> 4 & 3]


NO_EXTRA: Final = RecordExtra()


def pack(message: IdentifiedMessage, place: int, decision: int, threshold_id: int = 0) -> tuple[bytes, bytes]:
    """Make the record of a message, and its extra, b"" when it has none.

    A tracestate that holds our own age alone is not kept: the age is.

    Raises:
        struct.error: a number is out of range.
    """
    ids, arrival, context = message.ids, message.arrival, message.context
    origin, _, reason = context.origin.partition(":")
    nonce, seq = ids.boot_nonce, ids.seq
    kind = arrival.qos | ORIGIN_BITS[origin] | CARRIER_BITS[context.carrier]
    if nonce is not None and seq is not None:
        kind, key = kind | NUMBERED, b""
    else:
        # A message without any context is drawn new ids at each delivery: nothing could be known again.
        nonce, seq, key = NO_NONCE, 0, b"" if origin == "none" else ids.key
    extra = _extra(message, reason, key)
    packed = b""
    if extra != NO_EXTRA:
        kind |= HAS_EXTRA
        packed = _encoder.encode(extra)
    record = RECORD.pack(
        ids.trace_id,
        ids.span_id,
        nonce,
        seq,
        arrival.received_unix_ns,
        place,
        NO_AGE if context.age_ms is None else min(context.age_ms, NO_AGE - 1),
        min(len(arrival.payload), 0xFFFFFFFF),
        context.flags,
        kind,
        decision,
        threshold_id,
    )
    return record, packed


def _extra(message: IdentifiedMessage, reason: str, key: bytes) -> RecordExtra:
    parent_id, policy = message.ids.parent_id or b"", int(message.arrival.policy)
    if message.linked is None:
        tracestate = message.context.tracestate
        if _OWN_AGE.fullmatch(tracestate):
            tracestate = ""
        return RecordExtra(parent_id, reason, tracestate, key, policy, held_s=message.held_s)
    trace_id, span_id, state = message.linked
    return RecordExtra(parent_id, reason, state, key, policy, trace_id, span_id, message.held_s)


def unpack(data: bytes, offset: int = 0) -> Record:
    """Read the record at an offset of a block."""
    return Record._make(RECORD.unpack_from(data, offset))


def unpack_extra(data: bytes) -> RecordExtra:
    """Read an extra.

    Raises:
        ValueError: it was not made by `pack`.
    """
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the extra {data[:40].hex()} of a record cannot be read: {error}") from error


def rename_boot(records: bytearray, number: int, boot_nonce: bytes | None) -> None:
    """Write another boot nonce into a record of a block; None takes its number away."""
    at = number * SIZE + SEQ_AT
    records[at : at + 5] = boot_nonce or NO_NONCE
    if boot_nonce is None:
        records[at + 5 : at + 9] = bytes(4)
        records[number * SIZE + KIND_AT] &= ~NUMBERED & 0xFF


def kept(records: bytes, first: int = 0) -> Sequence[int]:
    """The numbers, from `first` on, of the records of a block whose spans the head keeps."""
    return keeping(records[DECISION_AT::SIZE], first)


def keeping(decisions: bytes, first: int = 0) -> Sequence[int]:
    """The numbers, from `first` on, of the decisions about a block that keep."""
    if min(decisions[first:], default=0) >= FIRST_KEEP:
        return range(first, len(decisions))
    return [number for number, decision in enumerate(decisions[first:], first) if decision >= FIRST_KEEP]


def numbers_with(records: bytes, needle: bytes, offset: int) -> Iterator[int]:
    """The numbers of the records of a block that have these bytes at this offset within them."""
    position = records.find(needle)
    while position >= 0:
        number, at = divmod(position, SIZE)
        if at == offset:
            yield number
        position = records.find(needle, position + 1)


def numbers_at(records: bytes, place: int) -> Iterator[int]:
    """The numbers of the records of a block that came to a place."""
    return numbers_with(records, place.to_bytes(4, "big"), PLACE_AT)


def join_extras(extras: dict[int, bytes]) -> bytes:
    """Make the extras of a block one text of bytes; keys are the records' numbers within the block."""
    return b"".join([struct.pack(">II", number, len(data)) + data for number, data in sorted(extras.items())])


def split_extras(data: bytes) -> dict[int, RecordExtra]:
    """Read what `join_extras` made."""
    found, position = {}, 0
    while position < len(data):
        number, length = struct.unpack_from(">II", data, position)
        position += 8
        found[number] = unpack_extra(data[position : position + length])
        position += length
    return found
