"""The broker's own counters, read from a real one too."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt import sys_topics
from motetrace_host.core.mqtt.sys_topics import CONNECTED, DROPPED, STORED, TOPICS, BrokerQueue

WAIT_S = 60


def test_what_was_dropped_before_is_not_news_but_more_is() -> None:
    state = BrokerQueue()
    assert state.add(DROPPED, b"1000", 0.0) is None
    assert state.add(DROPPED, b"1000", 10.0) is None
    state.add(CONNECTED, b"12", 10.0)
    state.add(STORED, b"47", 10.0)
    warning = state.add(DROPPED, b"1250", 20.0)
    assert warning is not None
    assert warning == {
        "dropped": 250,
        "dropped_in_all": 250,
        "since_s": 0.0,
        "clients_connected": 12,
        "messages_stored": 47,
        "remedy": sys_topics.REMEDY,
    }
    assert "max_queued_messages" in sys_topics.REMEDY and "max_inflight_messages" in sys_topics.REMEDY


def test_it_warns_at_a_bounded_rate_and_then_tells_all_that_came_between() -> None:
    state = BrokerQueue(warn_every_s=60)
    state.add(DROPPED, b"0", 0.0)
    warnings = [state.add(DROPPED, b"%d" % (n * 10), n * 10.0) for n in range(1, 14)]
    assert [(n, w["dropped"]) for n, w in enumerate(warnings, 1) if w] == [(1, 10), (7, 60), (13, 60)]


def test_what_was_held_back_is_told_when_its_time_comes_even_if_nothing_more_is_dropped() -> None:
    state = BrokerQueue(warn_every_s=60)
    state.add(DROPPED, b"0", 0.0)
    assert state.add(DROPPED, b"1", 10.0) is not None
    assert state.add(DROPPED, b"5", 20.0) is None
    late = state.add(DROPPED, b"5", 70.0)
    assert late is not None and (late["dropped"], late["since_s"]) == (4, 50.0)
    assert state.add(DROPPED, b"5", 140.0) is None


def test_a_counter_that_begins_again_is_a_restart_and_no_drop() -> None:
    state = BrokerQueue()
    state.add(DROPPED, b"1000", 0.0)
    assert state.add(DROPPED, b"0", 10.0) is None
    warning = state.add(DROPPED, b"3", 20.0)
    assert warning is not None and warning["dropped"] == 3


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_every_drop_since_the_start_is_told_once(steps: list[tuple[int, bool]]) -> None:
    state, counter, told, expected = BrokerQueue(warn_every_s=0), 7, 0, 0
    state.add(DROPPED, b"7", 0.0)
    for at, (more, restart) in enumerate(steps, 1):
        if restart:
            counter = 0
            state.add(DROPPED, b"0", float(at))
        counter += more
        expected += more
        warning = state.add(DROPPED, b"%d" % counter, float(at))
        told += int(warning["dropped"]) if warning else 0
    assert told == expected == state.dropped


@pytest.mark.parametrize("payload", [b"", b"-1", b"1.5", b"nan", b"9" * 19, b"\xff", "٣".encode()])
def test_what_is_no_count_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError) as refused:
        BrokerQueue().add(DROPPED, payload, 0.0)
    assert refused.value.reason == "sys_value"


def test_other_topics_are_passed_over() -> None:
    assert BrokerQueue().add("$SYS/broker/uptime", b"7 seconds", 0.0) is None


def test_a_real_mosquitto_with_a_short_queue_is_told_of(start_mosquitto: Callable[..., Mosquitto]) -> None:
    """A subscriber that is away, a queue of 10, 200 messages: the broker says how many it dropped."""
    broker = start_mosquitto(settings="max_queued_messages 10\nsys_interval 1")
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    watcher = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    watcher.on_connect = lambda client, *_: client.subscribe([(topic, 0) for topic in TOPICS])
    watcher.on_message = lambda _, __, message: heard.put((message.topic, message.payload))
    watcher.connect(broker.host, broker.port)
    watcher.loop_start()
    state = BrokerQueue()
    try:
        while not set(TOPICS) <= state.values.keys():
            state.add(*heard.get(timeout=WAIT_S), time.monotonic())
        leave_a_session(broker, "away")
        publisher = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        publisher.max_inflight_messages_set(200)
        publisher.connect(broker.host, broker.port)
        publisher.loop_start()
        for info in [publisher.publish("readings", b"x", 1) for _ in range(200)]:
            info.wait_for_publish(WAIT_S)
        publisher.disconnect()
        publisher.loop_stop()
        warning = None
        while warning is None:
            warning = state.add(*heard.get(timeout=WAIT_S), time.monotonic())
        while state.dropped < 190:
            state.add(*heard.get(timeout=WAIT_S), time.monotonic())
    finally:
        watcher.disconnect()
        watcher.loop_stop()
    assert 0 < int(warning["dropped"]) <= 190
    assert state.dropped == 190


def leave_a_session(broker: Mosquitto, client_id: str) -> None:
    """Subscribe at QoS 1 with a session that outlives the connection, and go."""
    done: queue.Queue[None] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5)
    client.on_connect = lambda *_: client.subscribe("readings", 1)
    client.on_subscribe = lambda *_: done.put(None)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    client.connect(broker.host, broker.port, clean_start=False, properties=properties)
    client.loop_start()
    done.get(timeout=WAIT_S)
    client.disconnect()
    client.loop_stop()
