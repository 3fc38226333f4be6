"""The stages on messages that paho really received from a real broker."""

from __future__ import annotations

import pytest
from paho.mqtt.client import MQTTv5, MQTTv311
from paho.mqtt.enums import MQTTProtocolVersion
from services import Mosquitto

from motetrace_host import stages
from motetrace_host.stages.incoming import user_properties
from tests.host.otel.clients import connected
from tests.host.stages.stage_recorder import PARENT_ID, TRACE_ID, TRACEPARENT, Recorder, publish_properties

WAIT_S = 60


def test_a_context_goes_through_the_broker_and_on_through_a_republish(mosquitto: Mosquitto, recorder: Recorder) -> None:
    with (
        connected(mosquitto, "devices/+/telemetry") as (engine, next_reading),
        connected(mosquitto, "rules/store") as (_, next_stored),
    ):
        properties = publish_properties(("unit", "C"), ("traceparent", TRACEPARENT), ("baggage", "site=lab;p=1"))
        engine.publish("devices/sensor-0042/telemetry", b'{"temp":3.82}', 1, properties=properties)
        with stages.rule_evaluate(next_reading(), name="r", action="republish", tracer=recorder.tracer) as rule:
            rule.publish(engine, "rules/store", qos=1)
        stored = next_stored()
    span = recorder.only
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE_ID}-{PARENT_ID}"
    assert span.context is not None
    assert stored.payload == b'{"temp":3.82}'
    assert user_properties(stored.properties) == [
        ("traceparent", f"00-{TRACE_ID}-{span.context.span_id:016x}-03"),
        ("baggage", "site=lab;p=1"),
    ]


@pytest.mark.parametrize(("sender", "receiver"), [(MQTTv311, MQTTv5), (MQTTv5, MQTTv311)])
def test_a_json_context_goes_between_protocol_versions(
    mosquitto: Mosquitto, recorder: Recorder, sender: MQTTProtocolVersion, receiver: MQTTProtocolVersion
) -> None:
    payload = b'{"traceparent":"%s","temp":3.82}' % TRACEPARENT.encode()
    with (
        connected(mosquitto, "devices/+/telemetry", protocol=receiver) as (engine, next_reading),
        connected(mosquitto, protocol=sender) as (device, _),
        connected(mosquitto, "rules/store") as (_, next_stored),
    ):
        device.publish("devices/sensor-0043/telemetry", payload, 1)
        with stages.rule_evaluate(next_reading(), name="r", action="republish", tracer=recorder.tracer) as rule:
            rule.publish(engine, "rules/store", qos=1)
        with stages.transform_store(next_stored(), name="f", tracer=recorder.tracer) as transform:
            assert transform.payload == b'{"temp":3.82}'
    rule_span, transform_span = recorder.spans
    assert rule_span.parent is not None
    assert rule_span.context is not None
    assert transform_span.parent is not None
    assert f"{rule_span.parent.span_id:016x}" == PARENT_ID
    assert transform_span.parent.span_id == rule_span.context.span_id


def test_a_retained_message_from_the_broker_is_linked_only(mosquitto: Mosquitto, recorder: Recorder) -> None:
    topic = "devices/sensor-0042/telemetry"
    with connected(mosquitto) as (device, _):
        sent = device.publish(topic, b"{}", 1, retain=True, properties=publish_properties(("traceparent", TRACEPARENT)))
        sent.wait_for_publish(WAIT_S)
        with connected(mosquitto, topic) as (_, next_reading):
            message = next_reading()
    with stages.rule_evaluate(message, name="r", action="a", tracer=recorder.tracer):
        pass
    span = recorder.only
    assert span.parent is None
    assert [f"{link.context.span_id:016x}" for link in span.links] == [PARENT_ID]
