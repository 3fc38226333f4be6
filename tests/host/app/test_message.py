"""Messages get their ids, and spans that say what is known and nothing more."""

import json
from collections.abc import Mapping
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.messages import message, record
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.core.messages.message import Arrival, IdentifiedMessage
from motetrace_host.core.messages.message_spans import MessageSource, MessageSpanEncoder, ShimIdentity
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.spans.span import AttributeValue, Span, SpanKind
from motetrace_host.core.wire import birth, context
from motetrace_host.network import otlp_codec

KEY = bytes(range(32))
NOW = 1_795_000_000_000_000_000
ARRIVAL = Arrival("s-1", "devices/s-1/telemetry", "devices/{device_id}/telemetry", 1, b"x", NOW)
TRACEPARENT = "00-0a010203040000000711111111111111-7f7e7d7c00000007-03"
FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def identified(
    *pairs: tuple[str, str], payload: bytes = b"x", device: str = "s-1", topic: str = ARRIVAL.topic
) -> IdentifiedMessage:
    found = context.read(pairs, payload)
    arrival = Arrival(device, topic, ARRIVAL.template, 1, payload, NOW)
    return message.identify(found, arrival, key=KEY, tenant="t", boot_nonce=b"nonce", entropy=bytes(range(1, 25)))


def spans(made: IdentifiedMessage, birth_attributes: Mapping[str, AttributeValue] | None = None) -> tuple[Span, Span]:
    """The spans of a message, made from its record and read by the protobuf library."""
    packed, extra = record.pack(made, 1, int(Reason.RATE))
    one = record.unpack(packed)
    whose = MessageSource(made.arrival.device_id, made.arrival.topic, made.arrival.template, birth_attributes or {})
    maker = MessageSpanEncoder(
        ShimIdentity("broker:1883", "shim-1"), lambda place, nonce, inferred: whose, lambda number: 0
    )
    device, broker = maker.rows(one, record.unpack_extra(extra) if extra else record.NO_EXTRA)
    return otlp_codec.unpack(device), otlp_codec.unpack(broker)


def test_a_structured_traceparent_keeps_its_ids_and_names_boot_and_seq() -> None:
    made = identified(("traceparent", TRACEPARENT))
    assert (made.ids.trace_id.hex(), made.ids.span_id.hex()) == (TRACEPARENT[3:35], TRACEPARENT[36:52])
    assert (made.ids.boot_nonce, made.ids.seq, made.context.origin) == (bytes.fromhex("0a01020304"), 7, "traceparent")


def test_a_foreign_traceparent_keeps_its_trace_and_names_the_parent_and_no_seq() -> None:
    made = identified(("traceparent", FOREIGN))
    assert (made.ids.trace_id.hex(), made.ids.boot_nonce, made.ids.seq) == (FOREIGN[3:35], None, None)
    assert made.ids.parent_id == bytes.fromhex(FOREIGN[36:52])
    assert made.ids.span_id != made.ids.parent_id, "that span is the sender's, who may export it"


def test_the_ids_of_a_foreign_message_are_those_of_the_wire_format() -> None:
    made = identified(("traceparent", FOREIGN), payload=b"{}")
    ids, topic = bytes.fromhex(FOREIGN[3:35] + FOREIGN[36:52]), b"devices/s-1/telemetry"
    named = b"\x03s-1" + ids + len(topic).to_bytes(2, "big") + topic + b"{}"
    key = blake2b(named, digest_size=16, person=b"motetrace.ledger").digest()
    assert made.ids.key == key
    name = b"device_publish " + key.hex().encode()
    assert made.ids.span_id == blake2b(ids + name, digest_size=8, person=b"motetrace.span").digest()


def test_messages_of_one_foreign_traceparent_are_told_apart_by_device_topic_and_payload() -> None:
    traced = ("traceparent", FOREIGN)
    made = [
        identified(traced),
        identified(traced, payload=b"y"),
        identified(traced, device="s-2"),
        identified(traced, topic="devices/s-1/alarm"),
        identified(traced, topic="devices/s-1/alar", payload=b"mx"),
    ]
    assert len({one.ids.key for one in made}) == len({one.ids.span_id for one in made}) == 5
    assert {one.ids.trace_id.hex() for one in made} == {FOREIGN[3:35]}
    assert identified(traced) == made[0]


def test_an_answer_is_the_devices_own_span_whatever_its_payload() -> None:
    found = context.read([("traceparent", FOREIGN)], b"x")
    made = message.identify(found, ARRIVAL, key=KEY, tenant="t", answering_boot=b"\x01\xb7\xad\x6b\x71")
    assert (made.ids.span_id.hex(), made.ids.parent_id) == (FOREIGN[36:52], None)
    assert (made.ids.boot_nonce, made.ids.seq) == (b"\x01\xb7\xad\x6b\x71", 0x69203331)


def test_device_publish_is_the_child_of_a_foreign_senders_span_and_broker_forward_its_own() -> None:
    made = identified(("traceparent", FOREIGN))
    device, broker = spans(made)
    assert (device.span_id, device.parent_id) == (made.ids.span_id, bytes.fromhex(FOREIGN[36:52]))
    assert broker.parent_id == device.span_id


def test_seqref_and_bare_seq_are_derived() -> None:
    by_seqref = identified(("seqref", "0a01020304-00000007-03"))
    assert (by_seqref.ids.trace_id, by_seqref.ids.span_id) == derive(KEY, "t", "s-1", bytes.fromhex("0a01020304"), 7)
    by_seq = identified(payload=b'{"seq":7}')
    assert (by_seq.ids.trace_id, by_seq.ids.span_id) == derive(KEY, "t", "s-1", b"nonce", 7)
    assert by_seq.ids.boot_nonce == b"nonce"


def test_without_context_the_ids_are_the_entropy_and_the_origin_says_why() -> None:
    made = identified(("traceparent", "nonsense"))
    assert (made.ids.trace_id, made.ids.span_id) == (bytes(range(1, 17)), bytes(range(17, 25)))
    assert made.context.origin == "none:traceparent_length"
    with pytest.raises(ValueError, match="24"):
        message.identify(context.read((), b""), ARRIVAL, key=KEY, tenant="", entropy=b"short")


def test_the_key_is_that_of_the_message_and_of_no_other() -> None:
    same = [
        identified(("traceparent", TRACEPARENT)),
        identified(("seqref", "0a01020304-00000007-03")),
        identified(("traceparent", TRACEPARENT.replace("1111", "2222"))),
    ]
    assert len({made.ids.key for made in same}) == 1
    others = [
        identified(("traceparent", TRACEPARENT), device="s-2"),
        identified(("seqref", "0a01020304-00000008-03")),
        identified(("seqref", "0a01020305-00000007-03")),
        identified(("traceparent", FOREIGN)),
        identified(("traceparent", FOREIGN.replace("3331", "3332"))),
    ]
    assert len({made.ids.key for made in same + others}) == 6


def test_the_two_spans_carry_the_names_that_users_search_by() -> None:
    made = identified(("traceparent", TRACEPARENT), ("tracestate", "mt=a:1f4,x=y"))
    device, broker = spans(made, {"device.firmware": "1.4.2", "baggage.site": "hall"})
    assert (device.name, device.kind, device.parent_id, device.service_name) == (
        "device_publish", SpanKind.PRODUCER, None, "device",
    )  # fmt: skip
    assert (device.start_unix_ns, device.end_unix_ns) == (NOW - 500_000_000, NOW)
    assert device.attributes == {
        "device.id": "s-1",
        "device.firmware": "1.4.2",
        "device.boot_nonce": "0a01020304",
        "device.seq": 7,
        "device.age_ms": 500,
        "baggage.site": "hall",
        "mqtt.topic": "devices/s-1/telemetry",
        "mqtt.qos": 1,
        "messaging.system": "mqtt",
        "messaging.destination.name": "devices/s-1/telemetry",
        "messaging.destination.template": "devices/{device_id}/telemetry",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.message.body.size": 1,
        "trace.origin": "traceparent",
        "trace.carrier": "user_property",
        "sampling.reason": "rate",
    }
    assert (broker.name, broker.kind, broker.service_name) == ("broker_forward", SpanKind.INTERNAL, "mqtt-broker")
    assert (broker.trace_id, broker.parent_id) == (device.trace_id, device.span_id)
    assert broker.start_unix_ns == broker.end_unix_ns == NOW
    assert broker.attributes["mqtt.broker"] == "broker:1883"
    assert broker.attributes["messaging.client.id"] == "shim-1"
    assert device.tracestate == broker.tracestate == "mt=a:1f4,x=y"


def test_nothing_unmeasured_is_told() -> None:
    device, broker = spans(identified(("seqref", "0a01020304-00000007-03")))
    assert device.start_unix_ns == device.end_unix_ns == NOW
    for span in (device, broker):
        assert not [
            name for name in span.attributes if "latency" in name or name in ("device.age_ms", "device.firmware")
        ]


def test_two_messages_of_one_continued_trace_have_different_broker_spans() -> None:
    one, two = identified(("traceparent", FOREIGN)), identified(("traceparent", FOREIGN), payload=b"y")
    assert spans(one)[1].span_id != spans(two)[1].span_id


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "seqref", "tracestate", "baggage"]), st.text())), st.binary())
def test_whatever_a_device_sends_becomes_spans_that_can_be_stored(pairs: list[tuple[str, str]], payload: bytes) -> None:
    made = identified(*pairs, payload=payload)
    device, broker = spans(made)
    assert (device.trace_id, device.span_id, device.parent_id) == (
        made.ids.trace_id,
        made.ids.span_id,
        made.ids.parent_id,
    )
    assert (device.tracestate, device.flags) == (made.context.tracestate, made.context.flags)
    assert (broker.trace_id, broker.parent_id) == (made.ids.trace_id, made.ids.span_id)
    for span in (device, broker):
        assert span.attributes["trace.origin"] == made.context.origin
        assert span.attributes.get("device.seq") == made.ids.seq


def test_a_birth_gives_firmware_and_baggage() -> None:
    parsed = birth.parse(
        b'{"v":1,"nonce":"0a01020304","mode":"seqref","baggage":{"firmware_version":"1.4","site":"hall"},"new":[1]}'
    )
    assert (parsed.boot_nonce, parsed.firmware) == (bytes.fromhex("0a01020304"), "1.4")
    assert parsed.attributes == {"device.firmware": "1.4", "baggage.firmware_version": "1.4", "baggage.site": "hall"}
    assert birth.parse(b'{"v":1,"nonce":"0a01020304","fw":"2","baggage":{"firmware_version":"1"}}').firmware == "2"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "birth_format"),
        (b"[]", "birth_format"),
        (b"[" * 4_000, "birth_format"),
        (b"\xff", "birth_format"),
        (b'{"v":1}', "birth_format"),
        (b'{"v":"1","nonce":"0a01020304"}', "birth_format"),
        (b'{"v":1,"nonce":"0a01020304","baggage":{"a":1}}', "birth_format"),
        (b'{"v":1,"nonce":"0a01020304","fw":"\\ud800"}', "birth_format"),
        (b'{"v":2,"nonce":"0a01020304"}', "birth_version"),
        (b'{"v":1,"nonce":"0A01020304"}', "birth_nonce"),
        (b'{"v":1,"nonce":"0a0102030"}', "birth_nonce"),
        (b'{"v":1,"nonce":"0a010203045"}', "birth_nonce"),
        (b'{"v":1,"nonce":"0a01020304","x":"' + b"x" * 4_096 + b'"}', "birth_size"),
        (
            json.dumps({"v": 1, "nonce": "0a01020304", "baggage": {str(n): "" for n in range(65)}}).encode(),
            "birth_baggage",
        ),
    ],
)
def test_a_broken_birth_is_refused_by_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        birth.parse(payload)
    assert refused.value.reason == reason
