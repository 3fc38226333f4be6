"""One message from a device, identified: the record that the ledger keeps and the spans are made from."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from motetrace_host.core.context import Context
from motetrace_host.core.derive import derive

_KEY_PERSON = b"motetrace.ledger"
ENTROPY_BYTES = 24


@dataclass(frozen=True, slots=True)
class Message:
    """What is known about one message.

    Attributes:
        key: 16 bytes; the same for every delivery of the message, so that the ledger counts it once.
        device_id: 1..255 bytes in UTF-8.
        template: the topic template that matched, low in cardinality.
        boot_nonce, seq: None when the context does not name them (a foreign traceparent, no context).
        trace_id: 16 bytes; span_id: 8 bytes, of `device_publish`.
        flags: trace-flags; bit 0 clear: counted, no spans.
        origin: traceparent, seqref, seq or none:<reason>.
        age_ms: from sensor read to publish, None when the device did not say.
    """

    key: bytes
    device_id: str
    topic: str
    template: str
    qos: int
    payload_bytes: int
    received_unix_ns: int
    boot_nonce: bytes | None
    seq: int | None
    trace_id: bytes
    span_id: bytes
    flags: int
    origin: str
    carrier: str
    age_ms: int | None
    tracestate: str
    baggage: str

    @property
    def sampled(self) -> bool:
        """The device wants spans for it."""
        return self.flags & 1 == 1


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came: nothing of it was told by the device's context."""

    device_id: str
    topic: str
    template: str
    qos: int
    payload_bytes: int
    received_unix_ns: int


def identify(
    context: Context,
    arrival: Arrival,
    *,
    key: bytes,
    tenant: str,
    boot_nonce: bytes | None = None,
    answering_boot: bytes | None = None,
    entropy: bytes = b"",
) -> Message:
    """Give a message its ids.

    Args:
        key, tenant: as in `derive`, used for seqref and seq.
        boot_nonce: 5 bytes, the inferred boot; needed for origin `seq` only.
        answering_boot: 5 bytes, for origin `traceparent`: the boot whose answer to a command this is.
        entropy: 24 random bytes; needed for origin `none:*` only, whose redelivery therefore cannot be recognised.
    Raises:
        ValueError: what the origin needs is missing.
    Source: docs/wire-format.md, "three ways a device can be traced".
    """
    nonce, seq = context.boot_nonce, context.seq
    if context.origin == "traceparent":
        if context.trace_id is None or context.parent_id is None:
            raise ValueError("a traceparent context has no ids")
        trace_id, span_id = context.trace_id, context.parent_id
        if answering_boot is not None:  # what may look structured here is the ids of the command's sender
            nonce, seq = answering_boot, int.from_bytes(span_id[4:], "big")
        elif not context.structured:
            nonce = seq = None
    elif seq is not None:
        nonce = nonce if nonce is not None else boot_nonce
        if nonce is None:
            raise ValueError(f"a context of origin {context.origin} needs the boot nonce that was inferred for it")
        trace_id, span_id = derive(key, tenant, arrival.device_id, nonce, seq)
    else:
        if len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"entropy has {len(entropy)} bytes; {ENTROPY_BYTES} are needed")
        trace_id, span_id = entropy[:16], entropy[16:]
    return Message(
        _key(arrival.device_id, nonce, seq, trace_id, span_id),
        arrival.device_id,
        arrival.topic,
        arrival.template,
        arrival.qos,
        arrival.payload_bytes,
        arrival.received_unix_ns,
        nonce,
        seq,
        trace_id,
        span_id,
        context.flags,
        context.origin,
        context.carrier,
        context.age_ms,
        context.tracestate,
        context.baggage,
    )


def _key(device_id: str, nonce: bytes | None, seq: int | None, trace_id: bytes, span_id: bytes) -> bytes:
    device = device_id.encode()
    named = nonce + seq.to_bytes(4, "big") if nonce is not None and seq is not None else trace_id + span_id
    return blake2b(b"%c%b%b" % (len(device), device, named), digest_size=16, person=_KEY_PERSON).digest()
