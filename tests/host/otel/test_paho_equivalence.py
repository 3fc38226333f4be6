"""What an instrumented paho sends is what a plain one sends, but for the context; drawn by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host.otel.paho_instrumentor import PahoMqttInstrumentor

PROVIDER = TracerProvider()
CONTEXT = {"traceparent", "tracestate", "baggage", "seqref"}
JSON = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4)
PAYLOADS = (
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.binary().map(bytearray)
    | JSON.map(json.dumps) | JSON.map(lambda drawn: json.dumps(drawn).encode())
)  # fmt: skip
TOPICS = st.sampled_from(["a", "devices/d/telemetry", "ü/ö", "", "a/+", "#", "$x"])
PAIRS = st.lists(st.tuples(st.sampled_from(["unit", "Traceparent", "x"]), st.text(max_size=5)), max_size=4)


@contextmanager
def instrumented(**options: Any) -> Iterator[None]:
    instrumentor = PahoMqttInstrumentor()
    instrumentor.instrument(tracer_provider=PROVIDER, **options)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def properties_of(pairs: list[tuple[str, str]] | None) -> Properties | None:
    if pairs is None:
        return None
    made = Properties(PacketTypes.PUBLISH)
    made.MessageExpiryInterval = 7
    if pairs:
        made.UserProperty = pairs
    return made


def outcome(protocol: Any, topic: str, payload: Any, qos: int, retain: bool, properties: Any) -> Any:
    """What a publish without a connection does: its exception, or its result and what is queued."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    try:
        info = client.publish(topic, payload, qos, retain, properties)
    except Exception as error:  # noqa: BLE001 (whatever paho raises is to be the same)
        return type(error), str(error)
    queued = [(m.topic, bytes(m.payload), m.qos, m.retain, m.properties) for m in client._out_messages.values()]
    return info.rc, info.mid, queued


@given(TOPICS, PAYLOADS, st.integers(-1, 3), st.booleans(), st.none() | PAIRS)
def test_with_mqtt_5_only_user_properties_are_added(
    topic: str, payload: Any, qos: int, retain: bool, pairs: list[tuple[str, str]] | None
) -> None:
    plain = outcome(MQTTv5, topic, payload, qos, retain, properties_of(pairs))
    with instrumented():
        traced = outcome(MQTTv5, topic, payload, qos, retain, properties_of(pairs))
    assert plain[:2] == traced[:2]
    for before, after in zip(*(found[2] if len(found) == 3 else [] for found in (plain, traced)), strict=True):
        assert before[:4] == after[:4]
        carried = list(after[4].UserProperty)
        assert [pair for pair in carried if pair[0] not in CONTEXT] == (pairs or [])
        assert sum(name == "traceparent" for name, _ in carried) == 1
        rest = {name: value for name, value in vars(after[4]).items() if name != "UserProperty"}
        assert rest == {
            name: value
            for name, value in vars(before[4] or Properties(PacketTypes.PUBLISH)).items()
            if name != "UserProperty"
        }


@given(TOPICS, PAYLOADS, st.integers(-1, 3), st.booleans())
def test_with_mqtt_3_nothing_changes_until_asked_and_then_only_json_objects(
    topic: str, payload: Any, qos: int, retain: bool
) -> None:
    plain = outcome(MQTTv311, topic, payload, qos, retain, None)
    with instrumented():
        assert outcome(MQTTv311, topic, payload, qos, retain, None) == plain
    with instrumented(payload_member=True):
        asked = outcome(MQTTv311, topic, payload, qos, retain, None)
    assert asked[:2] == plain[:2]
    for before, after in zip(*(found[2] if len(found) == 3 else [] for found in (plain, asked)), strict=True):
        if before[1].lstrip()[:1] != b"{":
            assert after == before
            continue
        try:
            members = json.loads(before[1])
        except ValueError:
            assert after == before
            continue
        found = json.loads(after[1])
        assert found.pop("traceparent").startswith("00-")
        assert found == members


@given(st.binary(min_size=1, max_size=20), st.binary(max_size=60), PAIRS, st.integers(0, 2), st.booleans())
def test_a_callback_gets_the_same_message_object_untouched(
    topic: bytes, payload: bytes, pairs: list[tuple[str, str]], qos: int, retain: bool
) -> None:
    message = MQTTMessage(1, topic)
    message.payload, message.qos, message.retain, message.properties = payload, qos, retain, properties_of(pairs)
    before = {name: getattr(message, name) for name in ("_topic", "payload", "qos", "retain", "mid", "properties")}
    kept = dict(vars(message.properties))
    got: list[Any] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda *args: got.append(args)
    with instrumented(payload_member=True):
        client._handle_on_message(message)
    assert len(got) == 1 and got[0][0] is client and got[0][2] is message
    assert {name: getattr(message, name) for name in before} == before
    assert dict(vars(message.properties)) == kept
