"""The two spans that the shim makes of a message, `device_publish` and `broker_forward`, as OTLP bytes from a record.

`device_publish` has a length only when the device sent the reading's age. `broker_forward` is a
point at the receive time, unless the message expiry interval shows that the broker kept the message for a second or
more: then it has that length and a latency, and the publish was so much earlier.

Why bytes from templates: most of a span is the same for all messages of a boot on a topic, so its attributes are
encoded once, and a span then costs a join. tests/host/core/test_hops.py holds the result against the protobuf library.
Source: docs/spans.md; OpenTelemetry semantic conventions for messaging; opentelemetry-proto trace.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from motetrace_host.core.messages import record
from motetrace_host.core.messages.derived_ids import BEGUN_SPAN_ID, derive_span_id, not_zero
from motetrace_host.core.messages.record import Record, RecordExtra
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling import reason as sampling_reason
from motetrace_host.core.sampling.threshold import threshold_bytes
from motetrace_host.core.spans.attributes import SCOPE, encode_attributes, encode_resource, encode_text
from motetrace_host.core.spans.protobuf import delimited, fields, varint
from motetrace_host.core.spans.span import AttributeValue, SpanKind, SpanRow
from motetrace_host.core.wire.trust import TrustPolicy

DEVICE_SERVICE: Final = "device"
BROKER_SERVICE: Final = "mqtt-broker"
_NS_PER_MS: Final = 1_000_000
_IDS: Final = struct.Struct("<2s16s2s8s")
_TIMES: Final = struct.Struct("<18sBQBQ")  # behind name and kind
_ROOT: Final = struct.Struct("<2s16s2s8s18sBQBQ")  # both, where nothing is between them
_CHILD: Final = struct.Struct("<2s16s2s8s2s8s18sBQBQ")  # with a parent between
_DEVICE: Final = delimited(b"\x2a", b"device_publish") + b"\x30" + varint(SpanKind.PRODUCER)
_BROKER: Final = delimited(b"\x2a", b"broker_forward") + b"\x30" + varint(SpanKind.INTERNAL)
_FLAGS: Final = [b"" if flags == 0 else b"\x85\x01" + flags.to_bytes(4, "little") for flags in range(256)]
_SHORT: Final = 2_048
_LENGTHS: Final = [b"\x12" + varint(length) for length in range(_SHORT)]
_TRACE, _SPAN, _PARENT = b"\x0a\x10", b"\x12\x08", b"\x22\x08"  # tag and length of an id
_PARENT_BYTES: Final = 10
_TAG_BYTES: Final = 3  # with a usual length
_MAX_FORMS: Final = 20_000
_MAX_NUMBERS: Final = 20_000


class _Numbers(dict[int, bytes]):
    """An attribute with a whole number, 0..2**63-1, by value; those that count up are the same for many devices."""

    def __init__(self, key: str) -> None:
        self._key = delimited(b"\x0a", key.encode())

    def __missing__(self, value: int) -> bytes:
        if len(self) >= _MAX_NUMBERS:
            self.clear()
        number = delimited(b"\x12", b"\x18" + varint(value))
        self[value] = attribute = delimited(b"\x4a", self._key + number)
        return attribute


_SEQ: Final = _Numbers("device.seq")
_BODY_SIZE: Final = _Numbers("messaging.message.body.size")
_AGE_MS: Final = _Numbers("device.age_ms")
_HELD_MS: Final = _Numbers("mqtt.delivery_latency_ms")
_BY_EXPIRY: Final = encode_text("mqtt.delivery_latency_source", "expiry")


class ShimIdentity(NamedTuple):
    """The shim as its spans name it.

    Attributes:
        broker: `host:port`. client_id: of the shim, the client that `broker_forward` ends at.
    """

    broker: str
    client_id: str


class MessageSource(NamedTuple):
    """Where a message came from: its device, topic and template, and the attributes that the birth of its boot gave."""

    device_id: str
    topic: str
    template: str
    birth: Mapping[str, AttributeValue]


class SpanBatch:
    """Spans of messages for one request, each with tag and length as they stand in ScopeSpans.

    Attributes:
        size_bytes: how long the request will be, but for its envelope.
    """

    __slots__ = ("broker_forward", "device_publish", "size_bytes")

    def __init__(self) -> None:
        self.device_publish: list[bytes] = []
        self.broker_forward: list[bytes] = []
        self.size_bytes = 0

    @property
    def messages(self) -> int:
        """How many messages' spans they are; two each."""
        return len(self.device_publish)

    def request(self) -> bytes:
        """One ExportTraceServiceRequest of them."""
        parts = _resource_spans(DEVICE_SERVICE, self.device_publish)
        return b"".join(parts + _resource_spans(BROKER_SERVICE, self.broker_forward))


Extras = Mapping[int, RecordExtra]
Reasons = Mapping[int, int] | bytes
_FormKey = tuple[int | bytes | str, ...]
"""number of the topic, boot nonce, kind, flags, decision; where there is an extra, also its reason and its policy"""

_Shared = tuple[str, int, str, str, int, int]
"""template, QoS, origin, carrier, policy, decision"""


class _Form(NamedTuple):
    """The attributes that all messages of one boot on one topic share, encoded.

    Attributes:
        common: what both spans have. device, broker: what each has alone; mostly the same object for all devices.
        device_bytes, broker_bytes: how long the spans are without what only some messages have or what differs in size.
        flags: the field behind the attributes.
    """

    common: bytes
    device: bytes
    broker: bytes
    device_bytes: int
    broker_bytes: int
    flags: bytes


class MessageSpanEncoder:
    """Encodes the two spans of messages.

    Args:
        find_source: gives the source by (number of the topic, boot nonce, whether the boot was inferred by the host).
        threshold: gives the threshold that records name by a number.
    """

    def __init__(
        self,
        shim: ShimIdentity,
        find_source: Callable[[int, bytes, bool], MessageSource],
        threshold: Callable[[int], int],
    ) -> None:
        self._shim = shim
        self._find_source = find_source
        self._threshold = threshold
        self._forms: dict[_FormKey, _Form] = {}
        self._shared: dict[_Shared, tuple[bytes, bytes]] = {}
        self._th: dict[int, tuple[bytes, bytes]] = {}

    def forget(self) -> None:
        """Forget the attributes of boots: a birth came."""
        self._forms.clear()

    def add(
        self, records: bytes, numbers: Iterable[int], extras: Extras, spans: SpanBatch, reasons: Reasons = b""
    ) -> None:
        """Make both spans of messages: `device_publish`, a root or the child of a foreign span, `broker_forward` below.

        Args:
            records: of a block. numbers: which of them. extras: of the block, by number. spans: where they go.
            reasons: by number, why each is kept, where the tail decided last; empty: what the records say.
        """
        forms, unpack, has_extra, no_extra = self._forms, record.RECORD.unpack_from, record.HAS_EXTRA, record.NO_EXTRA
        ids, times, root, child = _IDS.pack, _TIMES.pack, _ROOT.pack, _CHILD.pack
        device_spans, broker_spans = spans.device_publish.append, spans.broker_forward.append
        lengths, join, begun, whole = _LENGTHS, b"".join, BEGUN_SPAN_ID.copy, 0
        for number in numbers:
            trace_id, span_id, nonce, seq, received, topic, age_ms, size, flags, kind, decision, threshold_id = unpack(
                records, number * record.SIZE
            )
            state = parent = link = own = forward = b""
            sent, extra = received, no_extra
            if reasons:
                decision = reasons[number]
            key: _FormKey = (topic, nonce, kind, flags, decision)
            if kind & has_extra:
                extra = extras[number]
                key += (extra.reason, extra.policy)
                parent, link, state, forward, sent = self._of_extra(extra, trace_id, threshold_id, received)
                threshold_id = 0 if extra.tracestate and not link else threshold_id
            if threshold_id:
                least, plain = self._th.get(threshold_id) or self._new_th(threshold_id)
                state = plain if trace_id[9:] >= least else b""
            common, device, broker, device_bytes, broker_bytes, flag = forms.get(key) or self._new_form(
                key, record.unpack(records, number * record.SIZE), extra, decision
            )
            if kind & record.NUMBERED:
                own = _SEQ[seq]
                forward = own + forward if forward else own
            rest, read = own + _BODY_SIZE[size], sent
            if age_ms != record.NO_AGE:
                rest += _AGE_MS[age_ms]
                read = _before(sent, age_ms)
            rest += link + flag
            length = device_bytes + len(state) + len(parent) + len(rest)
            tag = lengths[length] if length < _SHORT else b"\x12" + varint(length)
            if state or parent:
                head = ids(_TRACE, trace_id, _SPAN, span_id) + state + parent
                head += times(_DEVICE, 0x39, read, 0x41, sent)
            else:
                head = root(_TRACE, trace_id, _SPAN, span_id, _DEVICE, 0x39, read, 0x41, sent)
            device_spans(join((tag, head, common, device, rest)))
            whole += length
            length = broker_bytes + len(state) + len(forward)
            tag = lengths[length] if length < _SHORT else b"\x12" + varint(length)
            hashed = begun()
            hashed.update(trace_id + span_id + b"broker_forward")
            to = not_zero(hashed.digest())
            if state:
                head = ids(_TRACE, trace_id, _SPAN, to) + state + _PARENT + span_id
                head += times(_BROKER, 0x39, sent, 0x41, received)
            else:
                head = child(_TRACE, trace_id, _SPAN, to, _PARENT, span_id, _BROKER, 0x39, sent, 0x41, received)
            broker_spans(join((tag, head, common, broker, forward, flag)))
            whole += length + 2 * _TAG_BYTES
        spans.size_bytes += whole

    def _of_extra(
        self, extra: RecordExtra, trace_id: bytes, threshold_id: int, received: int
    ) -> tuple[bytes, bytes, bytes, bytes, int]:
        """What few messages add to their spans: parent, link, tracestate, latency; and when they were published."""
        parent = _PARENT + extra.parent_id if extra.parent_id else b""
        link = _link(extra) if extra.link_trace_id else b""
        state = forward = b""
        if extra.tracestate and not link:  # else it is that of the linked context
            state = self._tracestate(extra.tracestate, trace_id, threshold_id)
        if extra.held_s:
            forward = _HELD_MS[extra.held_s * 1_000] + _BY_EXPIRY
        return parent, link, state, forward, _before(received, extra.held_s * 1_000)

    def _tracestate(self, text: str, trace_id: bytes, threshold_id: int) -> bytes:
        threshold = self._threshold(threshold_id) if threshold_id else None
        kept = ot_member.kept(text, trace_id, threshold)
        return delimited(b"\x1a", kept.encode()) if kept else b""

    def _new_th(self, threshold_id: int) -> tuple[bytes, bytes]:
        """The least R that a threshold keeps, and the tracestate with it: without it, R would contradict `th`."""
        threshold = self._threshold(threshold_id)
        state = ot_member.rewrite("", threshold).encode()
        self._th[threshold_id] = threshold_bytes(threshold), delimited(b"\x1a", state)
        return self._th[threshold_id]

    def rows(self, message: Record, extra: RecordExtra = record.NO_EXTRA) -> tuple[SpanRow, SpanRow]:
        """The spans of one message as rows of the span table, for commands that show a trace."""
        spans = SpanBatch()
        self.add(record.RECORD.pack(*message), (0,), {0: extra}, spans)
        end = message.received_unix_ns
        published = _before(end, extra.held_s * 1_000)
        read = published if message.age_ms == record.NO_AGE else _before(published, message.age_ms)
        forward_id = derive_span_id(message.trace_id, message.span_id, "broker_forward")
        return (
            SpanRow(message.trace_id, message.span_id, "device_publish", read, published, 0,
                    encode_resource(DEVICE_SERVICE), SCOPE, _content(spans.device_publish[0])),
            SpanRow(message.trace_id, forward_id, "broker_forward", published, end, 0,
                    encode_resource(BROKER_SERVICE), SCOPE, _content(spans.broker_forward[0])),
        )  # fmt: skip

    def _new_form(self, key: _FormKey, message: Record, extra: RecordExtra, decision: int) -> _Form:
        source = self._find_source(message.place, message.boot_nonce, message.inferred)
        common = encode_text("device.id", source.device_id) + encode_text("mqtt.topic", source.topic)
        common += encode_text("messaging.destination.name", source.topic)
        if message.numbered:
            common += encode_text("device.boot_nonce", message.boot_nonce.hex())
        shared = (source.template, message.qos, message.origin(extra), message.carrier, extra.policy, decision)
        device, broker = self._shared.get(shared) or self._new_shared(shared)
        if source.birth:
            device += encode_attributes(source.birth)
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        flags, both = _FLAGS[message.flags], _IDS.size + _TIMES.size + len(common)
        device_bytes, broker_bytes = both + len(device), both + _PARENT_BYTES + len(broker) + len(flags)
        form = self._forms[key] = _Form(common, device, broker, device_bytes, broker_bytes, flags)
        return form

    def _new_shared(self, key: _Shared) -> tuple[bytes, bytes]:
        template, qos, origin, carrier, policy, decision = key
        both: dict[str, AttributeValue] = {
            "mqtt.qos": qos,
            "messaging.system": "mqtt",
            "messaging.destination.template": template,
            "trace.origin": origin,
            "trace.carrier": carrier,
        }
        if policy:
            both["trace.trust"] = TrustPolicy(policy).word
        both.update(sampling_reason.attributes(decision))
        device = {"messaging.operation.name": "publish", "messaging.operation.type": "send"}
        broker = {
            "mqtt.broker": self._shim.broker,
            "messaging.operation.name": "forward",
            "messaging.operation.type": "receive",
            "messaging.client.id": self._shim.client_id,
        }
        if len(self._shared) >= _MAX_FORMS:
            self._shared.clear()
        shared = encode_attributes({**both, **device}), encode_attributes({**both, **broker})
        self._shared[key] = shared
        return shared


def _before(unix_ns: int, ms: int) -> int:
    return max(1, unix_ns - ms * _NS_PER_MS)


def _link(extra: RecordExtra) -> bytes:
    """Span.links with one link: trace_id, span_id, trace_state."""
    link = b"\x0a\x10" + extra.link_trace_id + b"\x12\x08" + extra.link_span_id
    state = delimited(b"\x1a", extra.tracestate.encode()) if extra.tracestate else b""
    return delimited(b"\x6a", link + state)


def _content(field: bytes) -> bytes:
    """What stands behind tag and length."""
    return next(bytes(content) for _, content in fields(memoryview(field)) if content is not None)


def _resource_spans(service: str, spans: list[bytes]) -> list[bytes]:
    """The parts of a ResourceSpans; not joined here, which would copy all of them once more."""
    scope, resource = delimited(b"\x0a", SCOPE), delimited(b"\x0a", encode_resource(service))
    scope_bytes = len(scope) + sum(map(len, spans))
    head = resource + b"\x12" + varint(scope_bytes)
    return [b"\x0a" + varint(len(head) + scope_bytes), head, scope, *spans]
