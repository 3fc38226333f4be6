"""One message from a device, identified: what its record in the log and its spans are made from."""

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


class MessageIds(NamedTuple):
    """The ids of a message.

    Attributes:
        key: 16 bytes; the same for every delivery of the message, so that the ledger counts it once.
        boot_nonce, seq: None when the context does not name them (a foreign traceparent, no context).
        trace_id: 16 bytes; span_id: 8 bytes, of `device_publish`.
        parent_id: 8 bytes, the span that a foreign traceparent names and `device_publish` is a child of; else None.
    """

    key: bytes
    boot_nonce: bytes | None
    seq: int | None
    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None


class LinkedContext(NamedTuple):
    """A context that came in and is not continued: 16 bytes, 8 bytes, and its tracestate or ""."""

    trace_id: bytes
    span_id: bytes
    tracestate: str


class Arrival(NamedTuple):
    """How a message came: everything but its context.

    Attributes:
        device_id: 1..255 bytes in UTF-8.
        template: the topic template that matched, low in cardinality.
        payload: as received; beside the topic it distinguishes messages with one foreign traceparent.
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


@dataclass(frozen=True, slots=True)
class IdentifiedMessage:
    """What is known about one message.

    Attributes:
        context: what was found in it, with the flags, tracestate and baggage that are believed and go on.
        linked: the context that `device_publish` links to; policy LINK only.
        held_s: whole seconds that the broker kept it; see `held_s`.
    """

    ids: MessageIds
    arrival: Arrival
    context: Context
    linked: LinkedContext | None = None
    held_s: int = 0

    @property
    def faults(self) -> tuple[str, ...]:
        """Reasons of what was broken in it, to be counted once, however often it is delivered."""
        fault = self.arrival.fault
        return (fault, *self.context.faults) if fault else self.context.faults


def held_s(expiry_s: int, left_s: int) -> int:
    """How long a broker kept a message, by the message expiry interval: it takes its waiting time off.

    Args:
        expiry_s: what the device published with, 0 when that is not known. left_s: what came.
    Returns:
        Whole seconds, 0..2**32-1; 0 for less than one, and when the two contradict each other.
    Source: MQTT 5.0, 3.3.2.3.3.
    """
    return max(0, expiry_s - left_s)


def identify(
    context: Context,
    arrival: Arrival,
    *,
    key: bytes,
    tenant: str,
    boot_nonce: bytes | None = None,
    answering_boot: bytes | None = None,
    entropy: bytes = b"",
) -> IdentifiedMessage:
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
    if context.trace_id is not None and context.parent_id is not None:
        ids = _sent_ids(context, arrival, context.trace_id, context.parent_id, answering_boot)
    elif context.seq is not None:
        nonce = context.boot_nonce if context.boot_nonce is not None else boot_nonce
        if nonce is None:
            raise ValueError(f"a context of origin {context.origin} needs the boot nonce that was inferred for it")
        derived = derive(key, tenant, arrival.device_id, nonce, context.seq)
        message_key = numbered_key(arrival.device_id, nonce, context.seq)
        ids = MessageIds(message_key, nonce, context.seq, *derived, None)
    else:
        if len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"entropy has {len(entropy)} bytes; {ENTROPY_BYTES} are needed")
        ids = MessageIds(_drawn_key(entropy), None, None, entropy[:16], entropy[16:], None)
    if arrival.policy == TrustPolicy.CONTINUE:
        return IdentifiedMessage(ids, arrival, context)
    if arrival.policy == TrustPolicy.RESAMPLE:
        return IdentifiedMessage(ids, arrival, context._replace(flags=context.flags | FLAG_SAMPLED))
    believed = context._replace(flags=HOST_FLAGS, tracestate="", baggage="")
    if arrival.policy != TrustPolicy.LINK or context.trace_id is None or context.parent_id is None:
        return IdentifiedMessage(ids, arrival, believed)
    linked = LinkedContext(context.trace_id, context.parent_id, context.tracestate)
    return IdentifiedMessage(_root_ids(ids, key, tenant, arrival.device_id), arrival, believed, linked)


def _sent_ids(
    context: Context, arrival: Arrival, trace_id: bytes, parent_id: bytes, answering_boot: bytes | None
) -> MessageIds:
    """The ids of a message that came with a traceparent."""
    nonce, seq = context.boot_nonce, context.seq
    if answering_boot is not None:  # what may look structured here is the ids of the command's sender
        nonce, seq = answering_boot, int.from_bytes(parent_id[4:], "big")
    elif not context.structured:  # the parent is a span of the sender's own, which it may export itself
        message_key = _foreign_key(arrival, trace_id, parent_id)
        span_id = derive_span_id(trace_id, parent_id, f"device_publish {message_key.hex()}")
        return MessageIds(message_key, nonce, seq, trace_id, span_id, parent_id)
    if nonce is None or seq is None:
        raise ValueError("a structured context has no number")
    return MessageIds(numbered_key(arrival.device_id, nonce, seq), nonce, seq, trace_id, parent_id, None)


def _root_ids(ids: MessageIds, key: bytes, tenant: str, device_id: str) -> MessageIds:
    """The ids of a trace that begins here: a numbered message has those that its seqref would have."""
    if ids.boot_nonce is not None and ids.seq is not None:
        trace_id, span_id = derive(key, tenant, device_id, ids.boot_nonce, ids.seq)
    else:
        trace_id, span_id = derive_root(key, tenant, ids.key)
    return ids._replace(trace_id=trace_id, span_id=span_id, parent_id=None)


def numbered_key(device_id: str, boot_nonce: bytes, seq: int) -> bytes:
    """The key of a message that has a number: 16 bytes, the same for every delivery of it."""
    device = device_id.encode()
    named = b"%c%b%b%b" % (len(device), device, boot_nonce, seq.to_bytes(4, "big"))
    return blake2b(named, digest_size=16, person=_KEY_PERSON).digest()


def _drawn_key(ids: bytes) -> bytes:
    return blake2b(ids, digest_size=16, person=_KEY_PERSON).digest()


def _foreign_key(arrival: Arrival, trace_id: bytes, parent_id: bytes) -> bytes:
    """Distinguish messages with one traceparent: a sender may publish any number of them within one span.

    Source: docs/wire-format.md, "Foreign traceparents".
    """
    device, topic = arrival.device_id.encode(), arrival.topic.encode()
    head = b"%c%b%b%b%b%b" % (len(device), device, trace_id, parent_id, len(topic).to_bytes(2, "big"), topic)
    digest = blake2b(head, digest_size=16, person=_KEY_PERSON)
    digest.update(arrival.payload)
    return digest.digest()
