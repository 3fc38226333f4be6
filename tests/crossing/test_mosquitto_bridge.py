"""What a mosquitto bridge does to a context on its way from one real broker to another (docs/cloud.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.context import Context
from paho.mqtt.client import MQTTMessage, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto

from motetrace_host.stages.incoming import read, user_properties
from tests.host.otel.clients import connected

TOPIC = "devices/sensor-0042/telemetry"
TRACEPARENT = "00-0123456789000000110a0b0c0d0e0f10-aabbccdd00000011-03"
# In this order, with a name twice, characters beyond ASCII, and white space that a tidy broker might trim.
PAIRS = [
    ("unit", "C"),
    ("traceparent", TRACEPARENT),
    ("tracestate", "mt=a:1f4, rojo=1"),
    ("baggage", "site=K%C3%BChlhaus;unit=1,line = 7"),
    ("unit", "K \u00fc"),
]
BRIDGE = """
connection to-cloud
address {host}:{port}
topic devices/# out 1
notifications_local_only true
notification_topic bridge/state
{version}
"""
Receive = Callable[[], MQTTMessage]


@contextmanager
def bridged(start_mosquitto: Callable[..., Mosquitto], version: str) -> Iterator[tuple[Mosquitto, Receive]]:
    """Two brokers with a bridge between them that is up: the one at the edge, and what arrives at the other."""
    cloud = start_mosquitto()
    edge = start_mosquitto(settings=BRIDGE.format(host=cloud.host, port=cloud.port, version=version))
    with connected(edge, "bridge/state") as (_, state), connected(cloud, "devices/#") as (_, receive):
        while state().payload != b"1":
            pass
        yield edge, receive


def properties() -> Properties:
    made = Properties(PacketTypes.PUBLISH)
    made.UserProperty = list(PAIRS)
    made.MessageExpiryInterval = 600
    made.ContentType = "application/json"
    return made


@pytest.mark.parametrize("qos", [0, 1])
def test_a_bridge_of_version_5_keeps_every_user_property_byte_for_byte(
    start_mosquitto: Callable[..., Mosquitto], qos: int
) -> None:
    with bridged(start_mosquitto, "bridge_protocol_version mqttv50") as (edge, receive), connected(edge) as (device, _):
        device.publish(TOPIC, b'{"temp":3.82}', qos, properties=properties())
        arrived = receive()
    assert (arrived.topic, arrived.payload) == (TOPIC, b'{"temp":3.82}')
    assert user_properties(arrived.properties) == PAIRS
    assert arrived.properties is not None
    assert arrived.properties.ContentType == "application/json"
    assert 590 <= arrived.properties.MessageExpiryInterval <= 600
    assert read(arrived, Context()).origin == "traceparent"


@pytest.mark.parametrize("version", ["", "bridge_protocol_version mqttv311"], ids=["by default", "mqttv311"])
def test_a_bridge_of_version_311_loses_the_properties_and_keeps_the_json_member(
    start_mosquitto: Callable[..., Mosquitto], version: str
) -> None:
    payload = json.dumps({"traceparent": TRACEPARENT, "temp": 3.82}).encode()
    with bridged(start_mosquitto, version) as (edge, receive), connected(edge) as (device, _):
        device.publish(TOPIC, b'{"temp":3.82}', 1, properties=properties())
        bare = receive()
        device.publish(TOPIC, payload, 1, properties=properties())
        with_member = receive()
    assert user_properties(bare.properties) == user_properties(with_member.properties) == []
    assert not hasattr(bare.properties, "MessageExpiryInterval")
    assert read(bare, Context()).origin == "none:absent"
    assert with_member.payload == payload
    incoming = read(with_member, Context())
    assert incoming.origin == "traceparent" and incoming.remote is not None
    assert f"{incoming.remote.trace_id:032x}" in TRACEPARENT


def test_a_device_of_version_311_behind_a_bridge_of_version_5_is_traced_by_its_json_member(
    start_mosquitto: Callable[..., Mosquitto],
) -> None:
    payload = json.dumps({"traceparent": TRACEPARENT, "temp": 3.82}).encode()
    with (
        bridged(start_mosquitto, "bridge_protocol_version mqttv50") as (edge, receive),
        connected(edge, protocol=MQTTv311) as (device, _),
    ):
        device.publish(TOPIC, payload, 1)
        arrived: Any = receive()
    assert arrived.payload == payload
    assert read(arrived, Context()).origin == "traceparent"
