"""EMQX's events about dropped messages, in the shape its rule engine gives them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.wire import emqx_drop
from motetrace_host.core.wire.emqx_drop import BrokerDrop
from motetrace_host.core.wire.hop_report import SeenRuns
from motetrace_host.shim.broker_events import BrokerEvents
from motetrace_host.storage.side_tables import BROKER_DROPS, DropCount, add_drops

NONCE = bytes.fromhex("5f3a9c0d21")
SEQREF = "5f3a9c0d21-0000002a-03"
TRACEPARENT = "00-5f3a9c0d210000002a0b0c0d0e0f1011-aabbccdd0000002a-03"
TOPICS = [TopicTemplate("devices/{device_id}/telemetry")]
NOW_NS = 1_795_000_000_000_000_000

# The columns of both events by the rule engine's own source (EMQX 5.8), with values of a reading.
MESSAGE_DROPPED: dict[str, Any] = {
    "event": "message.dropped", "id": "0006253CD3A1F36D1", "reason": "no_subscribers", "clientid": "sensor-0042",
    "username": None, "payload": '{"temp":3.82}', "peerhost": "192.0.2.7", "peername": "192.0.2.7:50123",
    "topic": "devices/sensor-0042/telemetry", "qos": 1, "flags": {"retain": False, "dup": False},
    "pub_props": {"User-Property": {"seqref": SEQREF}, "User-Property-Pairs": [{"key": "seqref", "value": SEQREF}]},
    "publish_received_at": 1_795_000_000_000, "timestamp": 1_795_000_000_001, "node": "emqx@127.0.0.1",
}  # fmt: skip
DELIVERY_DROPPED = MESSAGE_DROPPED | {
    "event": "delivery.dropped",
    "reason": "queue_full",
    "clientid": "dashboard",
    "from_clientid": "sensor-0042",
    "from_username": "plant",
}


def event(base: dict[str, Any] = MESSAGE_DROPPED, **members: Any) -> bytes:
    return json.dumps({name: value for name, value in (base | members).items() if value is not ...}).encode()


def test_a_message_that_nobody_got_is_named_with_its_reason() -> None:
    drop = emqx_drop.parse(event())
    assert drop == BrokerDrop(
        "message.dropped", "no_subscribers", "0006253CD3A1F36D1", "devices/sensor-0042/telemetry", "sensor-0042", "",
        NONCE, 42,
    )  # fmt: skip
    assert drop.device_id(TOPICS) == "sensor-0042"
    assert drop.seen_runs("sensor-0042", 5) == [SeenRuns("sensor-0042", NONCE, "broker.dropped", ((42, 42),), 5)]


def test_a_copy_that_one_subscriber_did_not_get_names_that_subscriber() -> None:
    drop = emqx_drop.parse(event(DELIVERY_DROPPED))
    assert (drop.event, drop.reason, drop.publisher, drop.receiver) == (
        "delivery.dropped", "queue_full", "sensor-0042", "dashboard",
    )  # fmt: skip
    assert (drop.boot_nonce, drop.seq) == (NONCE, 42)


@pytest.mark.parametrize(
    "carried",
    [
        {"pub_props": {"User-Property": {"traceparent": TRACEPARENT}}},
        {"pub_props": {"User-Property-Pairs": [{"key": "unit", "value": "C"}, {"key": "seqref", "value": SEQREF}]}},
        {"pub_props": {}, "payload": json.dumps({"seqref": SEQREF, "temp": 3.82})},
        {"pub_props": ..., "payload": {"traceparent": TRACEPARENT, "temp": 3.82}},  # a rule that decoded it
    ],
    ids=["property", "pairs", "payload as text", "payload as JSON"],
)
def test_the_number_is_found_wherever_the_context_is_visible(carried: dict[str, Any]) -> None:
    drop = emqx_drop.parse(event(**carried))
    assert (drop.boot_nonce, drop.seq) == (NONCE, 42)


@pytest.mark.parametrize(
    "hidden",
    [
        {"pub_props": {}},
        {"pub_props": ..., "payload": ...},
        {"pub_props": {"User-Property": {"seqref": 7}}},
        {"pub_props": {"User-Property-Pairs": [{"key": "seqref"}, {"value": SEQREF}]}},  # as its own example has it
        {"pub_props": {}, "payload": '{"seq":42}'},
        {"pub_props": {}, "payload": "\x00\x01"},
        {"pub_props": {"User-Property": {"traceparent": f"00-{'1' * 32}-{'2' * 16}-03"}}},
    ],
)
def test_without_a_visible_number_it_is_still_an_event(hidden: dict[str, Any]) -> None:
    drop = emqx_drop.parse(event(**hidden))
    assert (drop.boot_nonce, drop.seq) == (None, None)
    assert drop.seen_runs("sensor-0042", 5) == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * (emqx_drop.MAX_BYTES + 1), "event_size"),
        (b"", "event_format"),
        (b"[" * 100_000, "event_format"),
        (event(topic=...), "event_format"),
        (event(topic=None), "event_format"),
        (event(pub_props=[]), "event_format"),
        (event(event="message.publish"), "event_unknown"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        emqx_drop.parse(payload)
    assert refused.value.reason == reason


@pytest.mark.parametrize("word", ["", "Queue Full", "\x1b[2J", "x" * 65])
def test_a_reason_that_is_no_word_never_becomes_a_name(word: str) -> None:
    assert emqx_drop.parse(event(reason=word)).reason == "other"


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise_anything_else(payload: bytes) -> None:
    with pytest.raises(WireError):
        emqx_drop.parse(payload)


@given(st.data())
def test_no_damage_makes_the_reader_raise_anything_else(data: st.DataObject) -> None:
    payload = bytearray(event())
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        emqx_drop.parse(bytes(payload))
    except WireError as error:
        assert error.reason.startswith("event_")


def hear(side: BrokerEvents, payload: bytes) -> None:
    name = side.template.match("motetrace/emqx/dropped")
    assert name == "emqx"
    side.receive(name, PublishPacket("", 1, 1, False, False, payload), NOW_NS)


def test_events_feed_the_ledger_and_are_counted_by_device_subscriber_and_reason(
    connection: sqlite3.Connection,
) -> None:
    side = BrokerEvents("motetrace/", TOPICS)
    hear(side, event())
    hear(side, event(id="2", pub_props={}))
    hear(side, event(DELIVERY_DROPPED))
    hear(side, event(id="4", topic="elsewhere"))
    assert list(side.runs()) == [SeenRuns("sensor-0042", NONCE, "broker.dropped", ((42, 42),), NOW_NS // 10**6)] * 2
    for _ in range(2):
        connection.execute("BEGIN")
        side.save(connection)
        connection.execute("COMMIT")
        side.committed()
    assert set(BROKER_DROPS.read(connection)) == {
        DropCount("sensor-0042", "", "message.dropped", "no_subscribers", 2, 1),
        DropCount("sensor-0042", "dashboard", "delivery.dropped", "queue_full", 1, 0),
        DropCount("", "", "message.dropped", "no_subscribers", 1, 1),
    }
    assert len(BROKER_DROPS.read(connection, "sensor-0042")) == 2
    assert list(side.runs()) == []


def test_an_event_that_comes_again_counts_once_and_two_subscribers_copies_twice() -> None:
    side = BrokerEvents("motetrace/", TOPICS)
    for payload in (event(), event(), event(DELIVERY_DROPPED), event(DELIVERY_DROPPED, clientid="archive")):
        hear(side, payload)
    assert side.repeated == 1
    assert len(list(side.runs())) == 3


def test_nobody_can_fill_the_table_with_names(connection: sqlite3.Connection) -> None:
    counts = [DropCount(f"d{n}", f"r{n}", "delivery.dropped", "queue_full", 1, 0) for n in range(10)]
    add_drops(connection, counts, max_rows=4)
    add_drops(connection, counts, max_rows=4)
    found = BROKER_DROPS.read(connection)
    assert found[0] == DropCount("", "", "delivery.dropped", "queue_full", 12, 0)
    assert (len(found), sum(row.dropped for row in found)) == (5, 20)
