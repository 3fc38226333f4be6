"""What the instrumented paho tells, by way of a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage as otel_baggage
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto

from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.stages.incoming import user_properties
from tests.host.otel.clients import MQTTv5, MQTTv311, connected, ids, spans_named
from tests.host.stages.stage_recorder import KEY, PARENT_ID, TRACE_ID, TRACEPARENT, Recorder, publish_properties

Instrument = Callable[..., Any]
TOPIC = "devices/sensor-0042/telemetry"
TEMPLATE = "devices/{device_id}/telemetry"
DEVICE = (int(TRACE_ID, 16), int(PARENT_ID, 16))


@pytest.mark.parametrize("version", [CallbackAPIVersion.VERSION1, CallbackAPIVersion.VERSION2])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.filterwarnings("ignore:Callback API version 1")
def test_a_publish_and_its_processing_are_one_trace(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, version: CallbackAPIVersion, qos: int
) -> None:
    instrument()
    with (
        connected(mosquitto, TOPIC, version=version, qos=qos, client_id="engine") as (_, receive),
        connected(mosquitto, version=version, client_id="device") as (device, _),
    ):
        info = device.publish(TOPIC, '{"temp":"3.8°"}', qos)
        info.wait_for_publish(10)
        assert receive().payload == '{"temp":"3.8°"}'.encode()
        (processed,) = spans_named(recorder, "process", 1)
    (sent,) = spans_named(recorder, "publish", 1)
    assert (sent.name, sent.kind, sent.parent) == (f"publish {TEMPLATE}", SpanKind.PRODUCER, None)
    assert (processed.name, processed.kind) == (f"process {TEMPLATE}", SpanKind.CONSUMER)
    assert processed.parent is not None and ids(processed.parent) == ids(sent)
    assert [ids(link.context) for link in processed.links] == [ids(sent)]
    common = {
        "messaging.system": "mqtt",
        "messaging.destination.name": TOPIC,
        "messaging.destination.template": TEMPLATE,
        "messaging.message.body.size": 16,
        "server.address": "127.0.0.1",
        "server.port": mosquitto.port,
        "device.id": "sensor-0042",
        "mqtt.qos": qos,
    }
    assert dict(sent.attributes or {}) == common | {
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.client.id": "device",
    }
    got = dict(processed.attributes or {})
    assert str(got.pop("code.function.name")).endswith("on_message")
    assert got == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "engine",
        "trace.origin": "traceparent",
    }


@pytest.mark.parametrize("by_filter", [True, False])
def test_a_rule_engine_hands_the_devices_trace_on(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, by_filter: bool
) -> None:
    seen_baggage: list[dict[str, object]] = []

    def forward(client: Any, _: Any, message: Any) -> None:
        seen_baggage.append(dict(otel_baggage.get_all()))
        client.publish("rules/store", message.payload, 1, properties=message.properties)  # the stale context too

    def register(client: Any) -> None:
        client.message_callback_add("devices/+/telemetry", forward)

    how: dict[str, Any] = {"before": register} if by_filter else {"callback": forward}
    with (
        connected(mosquitto, "rules/store", qos=1) as (_, receive),
        connected(mosquitto, "devices/#", **how),
        connected(mosquitto) as (device, _),
    ):
        sent = publish_properties(("unit", "C"), ("traceparent", TRACEPARENT), ("baggage", "site=lab;x=1"))
        device.publish(TOPIC, b"1", 1, properties=sent).wait_for_publish(10)
        receive()  # plain so far
        instrument(topics=["rules/store"])
        device.publish(TOPIC, b"1", 1, properties=sent).wait_for_publish(10)
        stored = receive()
        processed = spans_named(recorder, "process", 2)
    assert seen_baggage == [{}, {"site": "lab"}]
    (out,) = spans_named(recorder, "publish rules/store", 1)
    (rule,) = [span for span in processed if span.name == f"process {TEMPLATE}"]
    (store,) = [span for span in processed if span.name == "process rules/store"]
    (device_span,) = [span for span in recorder.spans if span.name == f"publish {TEMPLATE}"]
    assert device_span.parent is not None and ids(device_span.parent) == DEVICE  # it carried a context of its own
    assert rule.parent is not None and ids(rule.parent) == ids(device_span)
    assert out.parent is not None and ids(out.parent) == ids(rule)
    assert store.parent is not None and ids(store.parent) == ids(out)
    assert out.context is not None
    assert user_properties(stored.properties) == [
        ("unit", "C"),
        ("traceparent", f"00-{TRACE_ID}-{out.context.span_id:016x}-03"),
        ("baggage", "site=lab;x=1"),
    ]


@pytest.mark.parametrize("options", [{"link_only": True}, {"link_only_topics": ["devices/+/telemetry"]}])
def test_link_only_begins_a_new_trace(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, options: dict[str, Any]
) -> None:
    with connected(mosquitto, TOPIC) as (device, receive):
        instrument(**options)
        device.publish(TOPIC, b"1", 1)
        receive()
        (processed,) = spans_named(recorder, "process", 1)
    (sent,) = spans_named(recorder, "publish", 1)
    assert processed.parent is None
    assert ids(processed)[0] != ids(sent)[0]
    assert [ids(link.context) for link in processed.links] == [ids(sent)]


def test_a_retained_message_is_linked_and_never_parented(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder
) -> None:
    instrument()
    with connected(mosquitto) as (device, _):
        device.publish(TOPIC, b"{}", 1, retain=True).wait_for_publish(10)
    with connected(mosquitto, TOPIC) as (_, receive):
        assert receive().retain
        (processed,) = spans_named(recorder, "process", 1)
    (sent,) = spans_named(recorder, "publish", 1)
    assert processed.parent is None
    assert [ids(link.context) for link in processed.links] == [ids(sent)]
    assert processed.attributes is not None and sent.attributes is not None
    assert processed.attributes["trace.origin"] == "none:retained"
    assert processed.attributes["mqtt.retained"] is sent.attributes["mqtt.retained"] is True


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv311])
@pytest.mark.parametrize("propagator", [None, TraceContextTextMapPropagator()])
def test_a_will_is_linked_and_never_parented(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, protocol: Any, propagator: Any
) -> None:
    instrument(payload_member=protocol == MQTTv311, propagator=propagator)
    with connected(mosquitto, "status", protocol=protocol) as (_, receive):
        with connected(
            mosquitto, protocol=protocol, before=lambda client: client.will_set("status", '{"on":false}', 1)
        ) as (device, _):
            device.socket().close()  # type: ignore[union-attr]  # no DISCONNECT: the broker sends the will
            will = receive()
        assert json.loads(will.payload)["on"] is False
        (processed,) = spans_named(recorder, "process", 1)
    (created,) = spans_named(recorder, "create", 1)
    assert created.kind is SpanKind.PRODUCER
    assert created.attributes is not None and created.attributes["messaging.operation.type"] == "create"
    assert processed.parent is None
    assert [ids(link.context) for link in processed.links] == [ids(created)]
    assert processed.attributes is not None and processed.attributes["trace.origin"] == "none:will"


def test_with_3_1_1_a_payload_is_left_alone_until_asked(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder
) -> None:
    payload = b'{ "traceparent":"%s","temp": 3.82 }' % TRACEPARENT.encode()
    with connected(mosquitto, TOPIC, protocol=MQTTv311) as (device, receive):
        instrumentor = instrument()
        device.publish(TOPIC, payload, 1)
        assert receive().payload == payload
        spans_named(recorder, "process", 1)
        instrumentor.uninstrument()
        instrument(payload_member=True)
        device.publish(TOPIC, payload, 1)
        seen = receive().payload
        device.publish(TOPIC, b"21.5", 1)
        assert receive().payload == b"21.5"
        left, asked, bare = spans_named(recorder, "process", 3)
    first, second, third = spans_named(recorder, "publish", 3)
    assert left.parent is None and left.links == ()
    assert first.attributes is not None and first.attributes["trace.inject"] == "none:mqtt_3"
    assert second.parent is not None and ids(second.parent) == DEVICE
    assert second.context is not None
    assert seen == b'{"traceparent":"00-%s-%016x-03","temp": 3.82 }' % (TRACE_ID.encode(), second.context.span_id)
    assert asked.parent is not None and ids(asked.parent) == ids(second)
    assert third.attributes is not None and third.attributes["trace.inject"] == "none:payload_not_json_object"
    assert bare.parent is None


def test_white_space_from_a_payload_does_not_cost_the_connection(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder
) -> None:
    """mosquitto ends the connection on a control character in a user property, and W3C allows tabs in the lists."""

    def forward(client: Any, _: Any, message: Any) -> None:
        client.publish("out", b"x", 1)

    fields = {"traceparent": TRACEPARENT, "tracestate": "foo=1\t,bar=2", "baggage": "a=1\t,b=2"}
    with (
        connected(mosquitto, "out") as (_, receive),
        connected(mosquitto, "in", callback=forward),
        connected(mosquitto, protocol=MQTTv311) as (device, _),
    ):
        device_publish = type(device).publish
        instrument(payload_member=True)
        device_publish(device, "in", json.dumps(fields), 1)
        carried = dict(user_properties(receive().properties))
        spans_named(recorder, "process", 2)
    assert carried["traceparent"][3:35] == TRACE_ID
    assert (carried["tracestate"], carried["baggage"]) == ("foo=1 ,bar=2", "a=1 ,b=2")


def test_a_seqref_device_is_continued_where_the_key_is(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder
) -> None:
    with connected(mosquitto, "plant/#") as (device, receive):
        instrument(topics=["plant/{device_id}/reading"])
        ref = publish_properties(("seqref", "3f2a9c01d4-0000002a-03"))
        device.publish("plant/s7/reading", b"1", 1, properties=ref)
        receive()
        spans_named(recorder, "process", 1)
    (sent,) = spans_named(recorder, "publish plant/{device_id}/reading", 1)
    made = derive(KEY, "acme", "s7", bytes.fromhex("3f2a9c01d4"), 42)
    assert sent.parent is not None
    assert ids(sent.parent) == (int.from_bytes(made.trace_id, "big"), int.from_bytes(made.span_id, "big"))


def test_manual_acknowledgement_works_from_the_callback(
    start_mosquitto: Callable[..., Mosquitto], instrument: Instrument, recorder: Recorder
) -> None:
    broker = start_mosquitto(settings="max_inflight_messages 1")
    instrument()

    def acknowledge(client: Any, _: Any, message: Any) -> None:
        assert get_current_span().get_span_context().is_valid
        client.ack(message.mid, message.qos)

    with connected(broker, TOPIC, callback=acknowledge, manual_ack=True) as (_, receive), connected(broker) as (dev, _):
        for number in range(3):  # with one in flight, the next comes only when this one is acknowledged
            dev.publish(TOPIC, str(number), 1)
        assert [receive().payload for _ in range(3)] == [b"0", b"1", b"2"]
        spans_named(recorder, "process", 3)


def test_a_chosen_propagator_is_used_instead(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext")  # the global one was loaded before: tracecontext,baggage
    with connected(mosquitto, TOPIC) as (device, receive):
        instrument()
        device.publish(TOPIC, b"1", 1)
        receive()
        (processed,) = spans_named(recorder, "process", 1)
    (sent,) = spans_named(recorder, "publish", 1)
    assert processed.parent is not None and ids(processed.parent) == ids(sent)
    assert processed.attributes is not None and processed.attributes["trace.origin"] == "propagator"
