"""The two spans that the shim makes of a message, `device_publish` and `broker_forward`, as OTLP bytes from a record.

Nothing is invented: `device_publish` has a length only when the device told the reading's age, `broker_forward` is a
point at the receive time, and no latency attribute is there because nothing measured one.

Why bytes from templates: most of a span is the same for all messages of a boot on a topic, so its attributes are
encoded once, and a span then costs a join. tests/host/core/test_hops.py holds the result against the protobuf library.
Source: docs/spans.md; OpenTelemetry semantic conventions for messaging; opentelemetry-proto trace.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from motetrace_host.core import record
from motetrace_host.core.derive import derive_span_id, span_id_of
from motetrace_host.core.otlp_span import SCOPE, encode_attributes, encode_resource
from motetrace_host.core.protobuf_wire import delimited, fields, varint
from motetrace_host.core.record import Extra, Record
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling import reason as sampling_reason
from motetrace_host.core.sampling.threshold import cut
from motetrace_host.core.span import AttributeValue, SpanKind, SpanRow
from motetrace_host.core.trust import Policy

DEVICE_SERVICE: Final = "device"
BROKER_SERVICE: Final = "mqtt-broker"
_NS_PER_MS: Final = 1_000_000
_TIMES: Final = struct.Struct("<BQBQ")
_HEAD: Final = {
    "device_publish": delimited(b"\x2a", b"device_publish") + b"\x30" + varint(SpanKind.PRODUCER),
    "broker_forward": delimited(b"\x2a", b"broker_forward") + b"\x30" + varint(SpanKind.INTERNAL),
}
_FLAGS: Final = [b"" if flags == 0 else b"\x85\x01" + flags.to_bytes(4, "little") for flags in range(256)]
_MAX_FORMS: Final = 20_000


class Where(NamedTuple):
    """What a span says of the way its message came.

    Attributes:
        broker: `host:port`. client_id: of the shim, the client that `broker_forward` ends at.
    """

    broker: str
    client_id: str


class Whose(NamedTuple):
    """What a span says of its device: topic and template, and what the birth of the boot told."""

    device_id: str
    topic: str
    template: str
    birth: Mapping[str, AttributeValue]


class Spans:
    """Spans of messages in the making of one request, each with tag and length as they stand in ScopeSpans."""

    __slots__ = ("broker_forward", "device_publish")

    def __init__(self) -> None:
        self.device_publish: list[bytes] = []
        self.broker_forward: list[bytes] = []

    @property
    def messages(self) -> int:
        """How many messages' spans they are; two each."""
        return len(self.device_publish)

    @property
    def size_bytes(self) -> int:
        """How long the request will be, but for its envelope."""
        return sum(map(len, self.device_publish)) + sum(map(len, self.broker_forward))

    def request(self) -> bytes:
        """One ExportTraceServiceRequest of them."""
        return _resource_spans(DEVICE_SERVICE, self.device_publish) + _resource_spans(
            BROKER_SERVICE, self.broker_forward
        )


class _Form(NamedTuple):
    """The attributes that all messages of one boot on one topic share, encoded."""

    device: bytes
    broker: bytes


class Hops:
    """Makes the spans of messages.

    Args:
        whose: tells about (place, boot nonce, whether the boot was inferred by the host).
        threshold: the threshold that records name by a number.
    """

    def __init__(
        self, where: Where, whose: Callable[[int, bytes, bool], Whose], threshold: Callable[[int], int]
    ) -> None:
        self._where = where
        self._whose = whose
        self._threshold = threshold
        self._forms: dict[tuple[int, bytes, int, int, str, int], _Form] = {}
        self._th: dict[int, tuple[bytes, bytes]] = {}

    def forget(self) -> None:
        """Ask anew whose the boots are: a birth came."""
        self._forms.clear()

    def add(
        self,
        records: bytes,
        numbers: Iterable[int],
        extras: Mapping[int, Extra],
        spans: Spans,
        reasons: Mapping[int, int] | bytes = b"",
    ) -> None:
        """Make both spans of messages: `device_publish`, a root or the child of a foreign span, `broker_forward` below.

        Args:
            records: of a block. numbers: which of them. extras: of the block, by number.
            spans: where they go.
            reasons: by number, why each is kept, where the tail had the last word; empty: what the records say.
        """
        forms, times, flag_bytes, unpack = self._forms, _TIMES.pack, _FLAGS, record.RECORD.unpack_from
        device_head, broker_head = _HEAD["device_publish"], _HEAD["broker_forward"]
        device_spans, broker_spans = spans.device_publish.append, spans.broker_forward.append
        for number in numbers:
            trace_id, span_id, nonce, seq, received, place, age_ms, size, flags, kind, decision, threshold_id = unpack(
                records, number * record.SIZE
            )
            state = parent = age = own = link = b""
            extra = record.NO_EXTRA
            if reasons:
                decision = reasons[number]
            if kind & record.HAS_EXTRA:
                extra = extras[number]
                parent = b"\x22\x08" + extra.parent_id if extra.parent_id else b""
                if extra.link_trace_id:
                    link = _link(extra)
            if extra.tracestate and not extra.link_trace_id:  # else it is that of the linked context
                state = self._tracestate(extra.tracestate, trace_id, threshold_id)
            elif threshold_id:
                least, plain = self._th.get(threshold_id) or self._new_th(threshold_id)
                state = plain if trace_id[9:] >= least else b""
            form = forms.get((place, nonce, kind, decision, extra.reason, extra.policy))
            if form is None:
                form = self._new_form(record.unpack(records, number * record.SIZE), extra, decision)
            start = received
            if age_ms != record.NO_AGE:
                age = _number(b"device.age_ms", age_ms)
                start = max(1, received - age_ms * _NS_PER_MS)
            if kind & record.NUMBERED:
                own = _number(b"device.seq", seq)
            ids = b"\x0a\x10" + trace_id + b"\x12\x08"
            flag = flag_bytes[flags]
            span = b"".join(
                (ids, span_id, state, parent, device_head, times(0x39, start, 0x41, received), form.device, own,
                 _number(b"messaging.message.body.size", size), age, link, flag)
            )  # fmt: skip
            device_spans(b"\x12" + varint(len(span)) + span)
            forward_id = span_id_of(trace_id, span_id, b"broker_forward")
            span = b"".join(
                (ids, forward_id, state, b"\x22\x08", span_id, broker_head, times(0x39, received, 0x41, received),
                 form.broker, own, flag)
            )  # fmt: skip
            broker_spans(b"\x12" + varint(len(span)) + span)

    def _tracestate(self, text: str, trace_id: bytes, threshold_id: int) -> bytes:
        threshold = self._threshold(threshold_id) if threshold_id else None
        kept = ot_member.kept(text, trace_id, threshold)
        return delimited(b"\x1a", kept.encode()) if kept else b""

    def _new_th(self, threshold_id: int) -> tuple[bytes, bytes]:
        """The least R that a threshold keeps, and the tracestate that says so: without it, R would contradict `th`."""
        threshold = self._threshold(threshold_id)
        state = ot_member.rewrite("", threshold).encode()
        self._th[threshold_id] = cut(threshold), delimited(b"\x1a", state)
        return self._th[threshold_id]

    def rows(self, message: Record, extra: Extra = record.NO_EXTRA) -> tuple[SpanRow, SpanRow]:
        """The spans of one message as the span table has others, for those who show a trace."""
        spans = Spans()
        self.add(record.RECORD.pack(*message), (0,), {0: extra}, spans)
        end = message.received_unix_ns
        start = end if message.age_ms == record.NO_AGE else max(1, end - message.age_ms * _NS_PER_MS)
        forward_id = derive_span_id(message.trace_id, message.span_id, "broker_forward")
        return (
            SpanRow(message.trace_id, message.span_id, "device_publish", start, end, 0,
                    encode_resource(DEVICE_SERVICE), SCOPE, _content(spans.device_publish[0])),
            SpanRow(message.trace_id, forward_id, "broker_forward", end, end, 0,
                    encode_resource(BROKER_SERVICE), SCOPE, _content(spans.broker_forward[0])),
        )  # fmt: skip

    def _new_form(self, message: Record, extra: Extra, decision: int) -> _Form:
        whose = self._whose(message.place, message.boot_nonce, message.inferred)
        common: dict[str, AttributeValue] = {
            "device.id": whose.device_id,
            "mqtt.topic": whose.topic,
            "mqtt.qos": message.qos,
            "messaging.system": "mqtt",
            "messaging.destination.name": whose.topic,
            "messaging.destination.template": whose.template,
            "trace.origin": message.origin(extra),
            "trace.carrier": message.carrier,
        }
        if message.numbered:
            common["device.boot_nonce"] = message.boot_nonce.hex()
        if extra.policy:
            common["trace.trust"] = Policy(extra.policy).word
        device = {**common, "messaging.operation.name": "publish", "messaging.operation.type": "send", **whose.birth}
        device.update(sampling_reason.attributes(decision))
        broker = {
            **common,
            "mqtt.broker": self._where.broker,
            "messaging.operation.name": "forward",
            "messaging.operation.type": "receive",
            "messaging.client.id": self._where.client_id,
            **sampling_reason.attributes(decision),
        }
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        form = _Form(encode_attributes(device), encode_attributes(broker))
        self._forms[message.place, message.boot_nonce, message.kind, decision, extra.reason, extra.policy] = form
        return form


@lru_cache(maxsize=32_768)
def _number(key: bytes, value: int) -> bytes:
    """An attribute with a whole number, 0..2**32-1; those that count up are the same for many devices."""
    number = b"\x18" + varint(value)
    return delimited(b"\x4a", delimited(b"\x0a", key) + delimited(b"\x12", number))


def _link(extra: Extra) -> bytes:
    """Span.links with one link: trace_id, span_id, trace_state."""
    link = b"\x0a\x10" + extra.link_trace_id + b"\x12\x08" + extra.link_span_id
    state = delimited(b"\x1a", extra.tracestate.encode()) if extra.tracestate else b""
    return delimited(b"\x6a", link + state)


def _content(field: bytes) -> bytes:
    """What stands behind tag and length."""
    return next(bytes(content) for _, content in fields(memoryview(field)) if content is not None)


def _resource_spans(service: str, spans: list[bytes]) -> bytes:
    scope_spans = delimited(b"\x0a", SCOPE) + b"".join(spans)
    return delimited(b"\x0a", delimited(b"\x0a", encode_resource(service)) + delimited(b"\x12", scope_spans))
