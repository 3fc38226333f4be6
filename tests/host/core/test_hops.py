"""Requests that are joined from templates are, byte for byte, what the protobuf library makes of the same messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from motetrace_host.core.messages import record
from motetrace_host.core.messages.derived_ids import derive_span_id
from motetrace_host.core.messages.message import Arrival, IdentifiedMessage, LinkedContext, MessageIds
from motetrace_host.core.messages.message_spans import MessageSource, MessageSpanEncoder, ShimIdentity, SpanBatch
from motetrace_host.core.messages.record import RecordExtra
from motetrace_host.core.sampling import ot_member, reason
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.spans.span import AttributeValue, Span, SpanKind
from motetrace_host.core.wire.context import Context
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.network import otlp_codec
from tests.host.spans.proto_spans import proto_resource, proto_span
from tests.host.spans.span_samples import ids

NOW = 1_795_000_000_000_000_000
WHERE = ShimIdentity("broker:1883", "shim-1")
THRESHOLDS = {1: 0, 2: 2**55, 3: 2**56 - 1}
AT_THRESHOLDS = [b"\x01" * 9 + max(0, at + by).to_bytes(7, "big") for at in THRESHOLDS.values() for by in (-1, 0)]
BIRTHS: list[dict[str, AttributeValue]] = [{}, {"device.firmware": "1.4.2", "baggage.site": "Hälle 3"}]
TRACESTATES = ["", "x=y", "mt=a:1f4", "mt=a:1f4,x=y", "ot=th:8,x=y", "x=y,ot=th:4;rv:ffffffffffffff;q:1"]
KEEPING = [each for each in Reason if each.keeps]
PAGE = set(re.findall(r"`([a-z_.]+)`", (Path(__file__).resolve().parents[3] / "docs" / "spans.md").read_text()))


def whose(place: int, boot_nonce: bytes, inferred: bool) -> MessageSource:
    """Two devices; what a birth tells depends on the boot, and a boot that the host inferred has another one."""
    birth = BIRTHS[boot_nonce[-1] % 2 ^ inferred]
    return MessageSource(f"sensor-{place}", f"devices/sensor-{place}/telemetry", "devices/{device_id}/telemetry", birth)


class Payload(bytes):
    """A payload of which only the length counts, so that one of 4 GiB takes no memory."""

    def __new__(cls, size: int) -> Payload:
        made = super().__new__(cls)
        made.size = size
        return made

    def __len__(self) -> int:
        return self.size


@st.composite
def messages(draw: st.DrawFn) -> IdentifiedMessage:
    origin = draw(st.sampled_from(["traceparent", "seqref", "seq", "none:", "none:traceparent_length"]))
    numbered = draw(st.booleans())
    linked = draw(st.none() | st.builds(LinkedContext, ids(16), ids(8), st.sampled_from(TRACESTATES)))
    policies = [TrustPolicy.LINK] if linked else [TrustPolicy.CONTINUE, TrustPolicy.RESAMPLE, TrustPolicy.OFF]
    made = MessageIds(
        key=b"k" * 16,
        boot_nonce=draw(st.sampled_from([b"boot0", b"boot1"])) if numbered else None,
        seq=draw(st.integers(1, 2**32 - 1)) if numbered else None,
        trace_id=draw(ids(16) | st.sampled_from(AT_THRESHOLDS)),
        span_id=draw(ids(8)),
        parent_id=draw(st.none() | ids(8)),
    )
    arrival = Arrival(
        device_id="",  # a record has place numbers instead
        topic="",
        template="",
        qos=draw(st.integers(0, 2)),
        payload=Payload(draw(st.sampled_from([0, 1, 127, 128, 2**32 - 1]) | st.integers(0, 100_000))),
        received_unix_ns=draw(st.just(NOW) | st.integers(1, 2**63 - 1)),
        policy=draw(st.sampled_from(policies)),
    )
    context = Context(
        origin,
        carrier=draw(st.sampled_from(record.CARRIERS)),
        flags=draw(st.integers(0, 255)),
        age_ms=draw(st.none() | st.sampled_from([0, 500, 2**32 - 2])),
        tracestate="" if linked else draw(st.sampled_from(TRACESTATES)),
    )
    return IdentifiedMessage(made, arrival, context, linked, held_s=draw(st.sampled_from([0, 0, 1, 3_600, 2**32 - 1])))


sent = st.tuples(messages(), st.integers(1, 2), st.sampled_from(KEEPING), st.sampled_from([0, *THRESHOLDS]))
Sent = tuple[IdentifiedMessage, int, Reason, int]


def block(all_sent: Sequence[Sent]) -> tuple[bytes, dict[int, RecordExtra]]:
    """The records of messages and their extras, as the outbox has them from the log."""
    packed = [record.pack(*one) for one in all_sent]
    extras = {number: extra for number, (_, extra) in enumerate(packed) if extra}
    return b"".join(made for made, _ in packed), record.split_extras(record.join_extras(extras))


def by_the_library(one: Sent) -> tuple[ProtoSpan, ProtoSpan]:
    """The two spans of a message, made the plain way."""
    message, place, decision, threshold_id = one
    told = whose(place, message.ids.boot_nonce or record.NO_NONCE, message.context.origin == "seq")
    common: dict[str, AttributeValue] = {
        "device.id": told.device_id,
        "mqtt.topic": told.topic,
        "messaging.destination.name": told.topic,
    }
    number: dict[str, AttributeValue] = {}
    if message.ids.boot_nonce is not None and message.ids.seq is not None:
        common["device.boot_nonce"] = message.ids.boot_nonce.hex()
        number["device.seq"] = message.ids.seq
    common |= {
        "mqtt.qos": message.arrival.qos,
        "messaging.system": "mqtt",
        "messaging.destination.template": told.template,
        "trace.origin": message.context.origin,
        "trace.carrier": message.context.carrier,
    }
    if message.arrival.policy:
        common["trace.trust"] = message.arrival.policy.word
    common |= reason.attributes(decision)
    size = {"messaging.message.body.size": len(message.arrival.payload)}
    age = {} if message.context.age_ms is None else {"device.age_ms": message.context.age_ms}
    publish = {"messaging.operation.name": "publish", "messaging.operation.type": "send"}
    forward = {
        "mqtt.broker": WHERE.broker,
        "messaging.operation.name": "forward",
        "messaging.operation.type": "receive",
        "messaging.client.id": WHERE.client_id,
    }
    # Our own age alone is no tracestate to pass on: it is an attribute.
    state = "" if message.context.tracestate == "mt=a:1f4" else message.context.tracestate
    state = ot_member.kept(state, message.ids.trace_id, THRESHOLDS[threshold_id] if threshold_id else None)
    end = message.arrival.received_unix_ns
    published = max(1, end - message.held_s * 1_000_000_000)
    held: dict[str, AttributeValue] = {}
    if message.held_s:
        held = {"mqtt.delivery_latency_ms": message.held_s * 1_000, "mqtt.delivery_latency_source": "expiry"}
    device = Span(
        message.ids.trace_id, message.ids.span_id, message.ids.parent_id, "device_publish", SpanKind.PRODUCER,
        max(1, published - (message.context.age_ms or 0) * 1_000_000), published,
        {**common, **publish, **told.birth, **number, **size, **age},
        {"service.name": "device"}, state, message.context.flags,
    )  # fmt: skip
    forward_id = derive_span_id(message.ids.trace_id, message.ids.span_id, "broker_forward")
    broker = Span(
        message.ids.trace_id, forward_id, message.ids.span_id, "broker_forward", SpanKind.INTERNAL,
        published, end, {**common, **forward, **number, **held},
        {"service.name": "mqtt-broker"}, state, message.context.flags,
    )  # fmt: skip
    made = proto_span(device), proto_span(broker)
    if message.linked:
        trace_id, span_id, linked_state = message.linked
        made[0].links.add(trace_id=trace_id, span_id=span_id, trace_state=linked_state)
    return made


def request_by_the_library(all_sent: Sequence[Sent]) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for service, spans in zip(("device", "mqtt-broker"), zip(*map(by_the_library, all_sent), strict=True), strict=True):
        scope_spans = request.resource_spans.add(resource=proto_resource(service)).scope_spans.add(spans=spans)
        scope_spans.scope.name = "motetrace"
    return request


def hops() -> MessageSpanEncoder:
    return MessageSpanEncoder(WHERE, whose, THRESHOLDS.__getitem__)


@given(st.lists(sent, min_size=1, max_size=8))
def test_a_request_is_what_the_protobuf_library_makes_of_the_same_messages(all_sent: list[Sent]) -> None:
    spans = SpanBatch()
    records, extras = block(all_sent)
    hops().add(records, range(len(all_sent)), extras, spans)
    assert ExportTraceServiceRequest.FromString(spans.request()) == request_by_the_library(all_sent)
    assert spans.request() == request_by_the_library(all_sent).SerializeToString()
    assert spans.messages == len(all_sent)
    assert 0 <= len(spans.request()) - spans.size_bytes < 100


@given(st.lists(sent, min_size=1, max_size=8), st.data())
def test_messages_that_the_tail_chose_carry_its_reasons(all_sent: list[Sent], data: st.DataObject) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(0, len(all_sent) - 1), min_size=1)))
    reasons = {number: data.draw(st.sampled_from(KEEPING)) for number in numbers}
    spans = SpanBatch()
    records, extras = block(all_sent)
    hops().add(records, numbers, extras, spans, reasons)
    chosen = [(message, place, reasons[number], threshold) for number, (message, place, _, threshold)
              in enumerate(all_sent) if number in reasons]  # fmt: skip
    assert spans.request() == request_by_the_library(chosen).SerializeToString()


@given(st.lists(sent, min_size=1, max_size=4))
def test_the_rows_of_a_message_are_those_that_its_request_is_read_as(all_sent: list[Sent]) -> None:
    maker, spans = hops(), SpanBatch()
    records, extras = block(all_sent)
    maker.add(records, range(len(all_sent)), extras, spans)
    decoded = otlp_codec.decode(spans.request(), otlp_codec.PROTOBUF)
    assert not decoded.rejected
    rows = [
        maker.rows(record.unpack(records, number * record.SIZE), extras.get(number, record.NO_EXTRA))
        for number in range(len(all_sent))
    ]
    assert decoded.rows == [device for device, _ in rows] + [broker for _, broker in rows]


@pytest.mark.parametrize("flags", [0, 1, 3, 255])
def test_trace_flags_stand_in_the_low_byte_of_the_spans_flags(flags: int) -> None:
    made = record.Record(b"t" * 16, b"s" * 8, b"boot0", 7, NOW, 1, record.NO_AGE, 1, flags, record.NUMBERED, 16, 0)
    for row in hops().rows(made):
        assert ProtoSpan.FromString(row.span).flags == flags
        assert row.span.endswith(b"\x85\x01" + bytes((flags, 0, 0, 0))) is (flags > 0)


@given(sent)
def test_every_attribute_is_told_on_the_page(one: Sent) -> None:
    records, extras = block([one])
    names = {
        attribute.key
        for row in hops().rows(record.unpack(records, 0), extras.get(0, record.NO_EXTRA))
        for attribute in ProtoSpan.FromString(row.span).attributes
    }
    assert {name for name in names if not name.startswith("baggage.")} <= PAGE
