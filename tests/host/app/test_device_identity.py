"""Which device a message is of: the topic says so, or what the broker set; never the payload."""

import json
from collections.abc import Callable

import pytest

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import device_identity
from tests.host.app.conftest import Bench

MakeBench = Callable[..., Bench]

TRACED = "traceparent", "00-0a010203040000000711111111111111-7f7e7d7c00000007-03"
# All that a sender can put into a message to pass for `victim`.
CLAIMS = [(name, "victim") for name in ("device_id", "device.id", "clientid", "client_id", "username")]
CLAIMING = json.dumps({**dict(CLAIMS), "device": {"id": "victim"}, "seq": 5}).encode()
BIRTH = b'{"v":1,"nonce":"0a01020304","fw":"9","device_id":"victim","baggage":{"device_id":"victim"}}'


def devices(bench: Bench) -> set[str]:
    """All device ids that anything was stored under."""
    tables = ("message", "device_boot", "unnumbered", "rejection", "seen", "place")
    return {device for table in tables for (device,) in bench.rows(f"SELECT device_id FROM {table}")}


def run(bench: Bench) -> Bench:
    assert bench.run()
    assert "internal_error" not in bench.counters.rejected
    return bench


def test_a_payload_cannot_claim_another_device(bench: Bench) -> None:
    bench.send(1, TRACED, *CLAIMS, ("baggage", "device_id=victim"), payload=CLAIMING)
    bench.send(2, payload=CLAIMING)
    bench.send(3, topic="motetrace/s/birth", payload=BIRTH)
    run(bench)
    assert devices(bench) == {"s"}
    assert {span.attributes["device.id"] for span in bench.spans()} == {"s"}


def test_with_a_device_property_neither_topic_nor_payload_nor_other_properties_say_who_it_is(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(device_property="broker_client_id")
    true = ("broker_client_id", "s-1")
    bench.send(1, TRACED, *CLAIMS, true, payload=CLAIMING, topic="devices/victim/telemetry")
    bench.send(2, true, payload=CLAIMING, topic="devices/victim/telemetry")
    bench.send(3, true, topic="motetrace/victim/birth", payload=BIRTH)
    run(bench)
    assert devices(bench) == {"s-1"}
    spans = bench.spans()
    assert {span.attributes["device.id"] for span in spans} == {"s-1"}
    assert {span.attributes["mqtt.topic"] for span in spans} == {"devices/victim/telemetry"}
    assert {span.attributes["device.firmware"] for span in spans if span.name == "device_publish"} == {"9"}


def test_devices_that_share_a_topic_are_told_apart_by_the_property(make_bench: MakeBench) -> None:
    bench = make_bench(device_property="who")
    for packet_id, device in enumerate(("a", "b", "a"), 1):
        bench.send(packet_id, TRACED, ("who", device))
    run(bench)
    counted = bench.rows("SELECT device_id, deliveries FROM message ORDER BY 1")
    assert counted == [("a", 2), ("b", 1)], "one number of two devices is two messages"


@pytest.mark.parametrize("topic", ["devices/s/telemetry", "motetrace/s/birth"])
def test_a_message_without_a_usable_property_is_refused_and_counted_under_no_device(
    make_bench: MakeBench, topic: str
) -> None:
    bench = make_bench(device_property="who")
    bench.send(1, TRACED, topic=topic)
    for packet_id, value in enumerate(("", "x" * 256, "é" * 128, "a/b", "a+", "#", "a\x1b[2J", "a\u202e", "a\0"), 2):
        bench.send(packet_id, TRACED, ("who", value), topic=topic)
    bench.send(20, ("who", "victim"), ("who", "s"), topic=topic)
    bench.send(21, ("who", "s"), topic=topic, fault="properties_too_many")
    run(bench)
    assert len(bench.acknowledged) == 12, "nothing is asked for again"
    assert bench.messages() == []
    assert bench.rows("SELECT * FROM rejection ORDER BY reason") == [
        ("", "device_property_invalid", 10),
        ("", "device_property_missing", 1),
        ("", "properties_too_many", 1),
    ]
    assert not bench.rows("SELECT * FROM place")


def test_what_is_no_reading_and_no_birth_needs_no_property(make_bench: MakeBench) -> None:
    bench = make_bench(device_property="who")
    bench.send(1, topic="elsewhere")
    run(bench)
    assert bench.rows("SELECT * FROM rejection") == [("", "topic_without_device", 1)]


@pytest.mark.parametrize("value", ["s", "x" * 255, "é" * 127, "urn:dev:1", "日本", " "])
def test_a_device_id_is_1_to_255_printable_bytes(value: str) -> None:
    assert device_identity.device_of([("other", "x"), ("who", value)], "who") == value


def test_the_name_of_the_property_is_taken_as_it_is_written() -> None:
    with pytest.raises(WireError) as refused:
        device_identity.device_of([("Who", "s"), ("who ", "s")], "who")
    assert refused.value.reason == "device_property_missing"
