"""One message from a device, identified: the record that the ledger keeps and the spans are made from."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from motetrace_host.core.messages.derived_ids import derive, derive_root, derive_span_id
from motetrace_host.core.wire.context import HOST_FLAGS, Context
from motetrace_host.core.wire.traceparent import FLAG_SAMPLED
from motetrace_host.core.wire.trust import TrustPolicy

_KEY_PERSON = b"motetrace.ledger"
ENTROPY_BYTES = 24


class LinkedContext(NamedTuple):
    """A context that came in and is not continued: 16 bytes, 8 bytes, and its tracestate or ""."""

    trace_id: bytes
    span_id: bytes
    tracestate: str


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """What is known about one message.

    Attributes:
        key: 16 bytes; the same for every delivery of the message, so that the ledger counts it once.
        device_id: 1..255 bytes in UTF-8.
        template: the topic template that matched, low in cardinality.
        boot_nonce, seq: None when the context does not name them (a foreign traceparent, no context).
        trace_id: 16 bytes; span_id: 8 bytes, of `device_publish`.
        parent_id: 8 bytes, the span that a foreign traceparent names and `device_publish` is a child of; else None.
        flags: trace-flags, the device's or, where its own are not honoured, the host's; bit 0 clear: counted, no spans.
        origin: traceparent, seqref, seq or none:<reason>.
        age_ms: from sensor read to publish, None when the device did not say.
        faults: reasons of what was broken in it, to be counted once, however often it is delivered.
        policy: what was done with its context. linked: the context that `device_publish` links to; policy LINK only.
        held_s: whole seconds that the broker kept it; see `held_s`.
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
    parent_id: bytes | None
    flags: int
    origin: str
    carrier: str
    age_ms: int | None
    tracestate: str
    baggage: str
    faults: tuple[str, ...]
    policy: TrustPolicy = TrustPolicy.CONTINUE
    linked: LinkedContext | None = None
    held_s: int = 0

    @property
    def sampled(self) -> bool:
        """There are to be spans of it."""
        return self.flags & 1 == 1


def held_s(expiry_s: int, left_s: int) -> int:
    """How long a broker kept a message, by the message expiry interval: it takes its waiting time off.

    Args:
        expiry_s: what the device published with, 0 when it did not say. left_s: what came.
    Returns:
        Whole seconds, 0..2**32-1; 0 for less than one, and when the two contradict each other.
    Source: MQTT 5.0, 3.3.2.3.3.
    """
    return max(0, expiry_s - left_s)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came: nothing of it was told by the device's context.

    Attributes:
        payload: as received; beside the topic it tells messages with one foreign traceparent apart.
        fault: why its properties or its topic could not be read, "" when all was well.
        policy: what is to be done with a context on this topic. OFF is the caller's: see `context.ignored`.
    """

    device_id: str
    topic: str
    template: str
    qos: int
    payload: bytes
    received_unix_ns: int
    fault: str = ""
    policy: TrustPolicy = TrustPolicy.CONTINUE


def identify(
    context: Context,
    arrival: Arrival,
    *,
    key: bytes,
    tenant: str,
    boot_nonce: bytes | None = None,
    answering_boot: bytes | None = None,
    entropy: bytes = b"",
) -> DeviceMessage:
    """Give a message its ids.

    Args:
        key, tenant: as in `derive`, used for seqref and seq.
        boot_nonce: 5 bytes, the inferred boot; needed for origin `seq` only.
        answering_boot: 5 bytes, for origin `traceparent`: the boot whose answer to a command this is.
        entropy: 24 random bytes; needed for origin `none:*` only, whose redelivery therefore cannot be recognised.
    Raises:
        ValueError: what the origin needs is missing.
    Source: docs/wire-format.md, "What a device can send".
    """
    ids = _ids(context, arrival, key, tenant, boot_nonce, answering_boot, entropy)
    flags, state, baggage = _believed(context, arrival.policy)
    linked = None
    if arrival.policy == TrustPolicy.LINK and context.trace_id is not None and context.parent_id is not None:
        linked = LinkedContext(context.trace_id, context.parent_id, context.tracestate)
        ids = _root(ids, key, tenant, arrival.device_id)
    return DeviceMessage(
        ids.message_key,
        arrival.device_id,
        arrival.topic,
        arrival.template,
        arrival.qos,
        len(arrival.payload),
        arrival.received_unix_ns,
        ids.boot_nonce,
        ids.seq,
        ids.trace_id,
        ids.span_id,
        ids.parent_id,
        flags,
        context.origin,
        context.carrier,
        context.age_ms,
        state,
        baggage,
        (arrival.fault, *context.faults) if arrival.fault else context.faults,
        arrival.policy,
        linked,
    )


def _believed(context: Context, policy: TrustPolicy) -> tuple[int, str, str]:
    """Flags, tracestate and baggage that go on; the table is in core/wire/trust.py."""
    if policy == TrustPolicy.CONTINUE:
        return context.flags, context.tracestate, context.baggage
    if policy == TrustPolicy.RESAMPLE:
        return context.flags | FLAG_SAMPLED, context.tracestate, context.baggage
    return HOST_FLAGS, "", ""


class _Ids(NamedTuple):
    message_key: bytes
    boot_nonce: bytes | None
    seq: int | None
    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None


def _ids(
    context: Context,
    arrival: Arrival,
    key: bytes,
    tenant: str,
    boot_nonce: bytes | None,
    answering_boot: bytes | None,
    entropy: bytes,
) -> _Ids:
    """The ids of a message whose context is continued; arguments and errors as for `identify`."""
    nonce, seq = context.boot_nonce, context.seq
    parent_id = None
    if context.origin == "traceparent":
        if context.trace_id is None or context.parent_id is None:
            raise ValueError("a traceparent context has no ids")
        trace_id, span_id = context.trace_id, context.parent_id
        if answering_boot is not None:  # what may look structured here is the ids of the command's sender
            nonce, seq = answering_boot, int.from_bytes(span_id[4:], "big")
        elif not context.structured:
            parent_id = span_id  # a span of the sender's own, which it may export itself
    elif seq is not None:
        nonce = nonce if nonce is not None else boot_nonce
        if nonce is None:
            raise ValueError(f"a context of origin {context.origin} needs the boot nonce that was inferred for it")
        trace_id, span_id = derive(key, tenant, arrival.device_id, nonce, seq)
    else:
        if len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"entropy has {len(entropy)} bytes; {ENTROPY_BYTES} are needed")
        trace_id, span_id = entropy[:16], entropy[16:]
    if parent_id is not None:
        message_key = _foreign_key(arrival, trace_id, parent_id)
        span_id = derive_span_id(trace_id, parent_id, f"device_publish {message_key.hex()}")
    else:
        message_key = _drawn_key(trace_id, span_id)
        if nonce is not None and seq is not None:
            message_key = numbered_key(arrival.device_id, nonce, seq)
    return _Ids(message_key, nonce, seq, trace_id, span_id, parent_id)


def _root(ids: _Ids, key: bytes, tenant: str, device_id: str) -> _Ids:
    """The ids of a trace that begins here: a numbered message has those that its seqref would have."""
    if ids.boot_nonce is not None and ids.seq is not None:
        trace_id, span_id = derive(key, tenant, device_id, ids.boot_nonce, ids.seq)
    else:
        trace_id, span_id = derive_root(key, tenant, ids.message_key)
    return ids._replace(trace_id=trace_id, span_id=span_id, parent_id=None)


def numbered_key(device_id: str, boot_nonce: bytes, seq: int) -> bytes:
    """The key of a message that has a number: 16 bytes, the same for every delivery of it."""
    device = device_id.encode()
    named = b"%c%b%b%b" % (len(device), device, boot_nonce, seq.to_bytes(4, "big"))
    return blake2b(named, digest_size=16, person=_KEY_PERSON).digest()


def _drawn_key(trace_id: bytes, span_id: bytes) -> bytes:
    return blake2b(trace_id + span_id, digest_size=16, person=_KEY_PERSON).digest()


def _foreign_key(arrival: Arrival, trace_id: bytes, parent_id: bytes) -> bytes:
    """Tell messages with one traceparent apart: a sender may publish any number of them within one span.

    Source: docs/wire-format.md, "Foreign traceparents".
    """
    device, topic = arrival.device_id.encode(), arrival.topic.encode()
    head = b"%c%b%b%b%b%b" % (len(device), device, trace_id, parent_id, len(topic).to_bytes(2, "big"), topic)
    digest = blake2b(head, digest_size=16, person=_KEY_PERSON)
    digest.update(arrival.payload)
    return digest.digest()
