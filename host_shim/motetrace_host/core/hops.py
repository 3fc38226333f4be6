"""The two spans that the shim makes of a message, `device_publish` and `broker_forward`, as OTLP bytes from a record.

Nothing is invented: `device_publish` has a length only when the device told the reading's age, `broker_forward` is a
point at the receive time, and no latency attribute is there because nothing measured one.

Why bytes from templates: most of a span is the same for all messages of a boot on a topic, so its attributes are
encoded once, and a span then costs a join. tests/host/core/test_hops.py holds the result against the protobuf library.
Source: DESIGN.md, "The five spans"; OpenTelemetry semantic conventions for messaging; opentelemetry-proto trace.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from motetrace_host.core import record
from motetrace_host.core.derive import derive_span_id
from motetrace_host.core.otlp_span import SCOPE, encode_attributes, encode_resource
from motetrace_host.core.protobuf_wire import delimited, varint
from motetrace_host.core.record import Extra, Record
from motetrace_host.core.span import AttributeValue, SpanKind, SpanRow

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


class Pair(NamedTuple):
    """Both spans of one message, each an OTLP Span message without its length."""

    device_publish: bytes
    broker_forward: bytes


class _Form(NamedTuple):
    """The attributes that all messages of one boot on one topic share, encoded."""

    device: bytes
    broker: bytes


class Hops:
    """Makes the spans of messages.

    Args:
        whose: tells about (place, boot nonce, whether the boot was inferred by the host).
    """

    def __init__(self, where: Where, whose: Callable[[int, bytes, bool], Whose]) -> None:
        self._where = where
        self._whose = whose
        self._forms: dict[tuple[int, bytes, int, str], _Form] = {}

    def forget(self) -> None:
        """Ask anew whose the boots are: a birth came."""
        self._forms.clear()

    def spans(self, message: Record, extra: Extra = record.NO_EXTRA) -> Pair:
        """Make both spans: `device_publish`, a root or the child of a foreign span, and `broker_forward` below it."""
        trace_id, span_id, nonce, seq, received, place, age_ms, payload_bytes, flags, kind, _, _ = message
        form = self._forms.get((place, nonce, kind, extra.reason)) or self._new_form(message, extra)
        ids = b"\x0a\x10" + trace_id + b"\x12\x08"
        state = delimited(b"\x1a", extra.tracestate.encode()) if extra.tracestate else b""
        parent = b"\x22\x08" + extra.parent_id if extra.parent_id else b""
        age, start = b"", received
        if age_ms != record.NO_AGE:
            age = _number(b"device.age_ms", age_ms)
            start = max(1, received - age_ms * _NS_PER_MS)
        number = _number(b"device.seq", seq) if kind & record.NUMBERED else b""
        size = _number(b"messaging.message.body.size", payload_bytes)
        device = b"".join(
            (ids, span_id, state, parent, _HEAD["device_publish"], _TIMES.pack(0x39, start, 0x41, received),
             form.device, number, size, age, _FLAGS[flags])
        )  # fmt: skip
        forward_id = derive_span_id(trace_id, span_id, "broker_forward")
        broker = b"".join(
            (ids, forward_id, state, b"\x22\x08", span_id, _HEAD["broker_forward"],
             _TIMES.pack(0x39, received, 0x41, received), form.broker, number, _FLAGS[flags])
        )  # fmt: skip
        return Pair(device, broker)

    def _new_form(self, message: Record, extra: Extra) -> _Form:
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
        device = {**common, "messaging.operation.name": "publish", "messaging.operation.type": "send", **whose.birth}
        broker = {
            **common,
            "mqtt.broker": self._where.broker,
            "messaging.operation.name": "forward",
            "messaging.operation.type": "receive",
            "messaging.client.id": self._where.client_id,
        }
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        form = _Form(encode_attributes(device), encode_attributes(broker))
        self._forms[message.place, message.boot_nonce, message.kind, extra.reason] = form
        return form


@lru_cache(maxsize=32_768)
def _number(key: bytes, value: int) -> bytes:
    """An attribute with a whole number, 0..2**32-1; those that count up are the same for many devices."""
    number = b"\x18" + varint(value)
    return delimited(b"\x4a", delimited(b"\x0a", key) + delimited(b"\x12", number))


def request(pairs: list[Pair]) -> bytes:
    """Make one ExportTraceServiceRequest of the spans of messages; b"" of none."""
    if not pairs:
        return b""
    return _resource_spans(DEVICE_SERVICE, [pair.device_publish for pair in pairs]) + _resource_spans(
        BROKER_SERVICE, [pair.broker_forward for pair in pairs]
    )


def rows(message: Record, pair: Pair) -> tuple[SpanRow, SpanRow]:
    """The same spans as the span table has others, for those who show a trace."""
    start = message.received_unix_ns
    if message.age_ms != record.NO_AGE:
        start = max(1, start - message.age_ms * _NS_PER_MS)
    forward_id = derive_span_id(message.trace_id, message.span_id, "broker_forward")
    end = message.received_unix_ns
    return (
        SpanRow(message.trace_id, message.span_id, "device_publish", start, end, 0, encode_resource(DEVICE_SERVICE),
                SCOPE, pair.device_publish),
        SpanRow(message.trace_id, forward_id, "broker_forward", end, end, 0, encode_resource(BROKER_SERVICE),
                SCOPE, pair.broker_forward),
    )  # fmt: skip


def _resource_spans(service: str, spans: list[bytes]) -> bytes:
    scope_spans = delimited(b"\x0a", SCOPE) + b"".join([b"\x12" + varint(len(span)) + span for span in spans])
    return delimited(b"\x0a", delimited(b"\x0a", encode_resource(service)) + delimited(b"\x12", scope_spans))
