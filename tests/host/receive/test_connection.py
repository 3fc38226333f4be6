"""The connection, against a broker that the test plays: half-open, cut in mid-packet, ended in a burst, kept alive."""

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from motetrace_host.core.mqtt.framing import MAX_PACKET_BYTES
from motetrace_host.network import subscriber
from tests.host.receive.broker_played import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    SUBSCRIBE,
    WATCHED,
    Played,
    answers,
    flood,
    reading,
)
from tests.host.receive.driven import RECEIVE
from tests.host.receive.packets import Publish, packet, varint
from tests.waiting import until

MakePlayed = Callable[..., Played]
both = pytest.mark.parametrize("reader", list(RECEIVE))


@pytest.fixture
def play() -> Iterator[MakePlayed]:
    made: list[Played] = []

    def make(*words: Any, **named: Any) -> Played:
        made.append(Played(*words, **named))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def short_keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber, "_KEEPALIVE_S", 1)


@both
def test_messages_are_handed_over_and_acknowledged_in_order(play: MakePlayed, reader: str) -> None:
    played = play(reader)
    link = played.accept()
    link.send(reading(1), reading(2), reading(3, qos=0), reading(4))
    until(lambda: len(played.payloads()) == 4, "they are handed over")
    assert played.payloads() == [b"0001", b"0002", b"0003", b"0004"]
    played.subscriber.acknowledge(1, [1, 2, 4])
    assert [link.read() for _ in range(3)] == answers(PUBACK, 1, 2, 4)


@both
def test_half_a_packet_of_a_lost_connection_is_not_continued_on_the_next(play: MakePlayed, reader: str) -> None:
    played = play(reader)
    link = played.accept()
    whole = bytes(reading(2, size=500))
    link.send(reading(1), whole[:300])
    until(lambda: played.payloads() == [b"0001"], "the whole one is handed over")
    link.close()
    link = played.accept()
    link.send(whole, reading(3))
    until(lambda: played.payloads(2) == [b"0002", b"0003"], "the next connection begins with a packet")


@both
def test_acknowledgements_go_out_on_the_connection_of_their_messages_only(play: MakePlayed, reader: str) -> None:
    played = play(reader)
    link = played.accept()
    link.send(reading(1), reading(2))
    until(lambda: len(played.payloads()) == 2, "they are handed over")
    link.close()
    played.lost()
    played.subscriber.acknowledge(1, [1])
    link = played.accept()
    link.send(reading(7))
    until(lambda: played.payloads(2) == [b"0007"], "the next connection delivers")
    played.subscriber.acknowledge(1, [1, 2])
    played.subscriber.acknowledge(2, [7])
    played.subscriber.stop()
    assert [one for one in link.rest() if one[0] == PUBACK] == answers(PUBACK, 7)


@both
def test_a_disconnect_in_the_middle_of_a_burst_is_quoted_and_the_burst_handed_over(
    play: MakePlayed, reader: str
) -> None:
    played = play(reader)
    link = played.accept()
    burst = [reading(number) for number in range(1, 500)]
    link.send(*burst, packet(DISCONNECT, b"\x97\x00"), reading(999))
    link.close()
    reason = played.lost()
    assert reason.startswith("the broker ended the session")
    if reader == "bulk":  # paho 2.1 by itself reads no reason from a DISCONNECT of 2 bytes
        assert "Quota exceeded" in reason
        # What is behind the DISCONNECT came in the same read; the broker sends it again.
        assert played.payloads()[:499] == [b"%04d" % number for number in range(1, 500)]
    else:
        assert set(played.payloads()) <= {b"%04d" % number for number in range(1, 500)}
    played.accept()


@both
def test_a_half_open_connection_is_given_up(play: MakePlayed, reader: str, short_keepalive: None) -> None:
    played = play(reader)
    link = played.accept()
    assert link.until(PINGREQ) == b""
    assert "Keep alive timeout" in played.lost()  # the broker neither reads, writes nor closes
    link.close()
    played.accept()


@both
def test_keep_alive_works_while_only_data_flows(play: MakePlayed, reader: str, short_keepalive: None) -> None:
    played = play(reader)
    link = played.accept()
    stop = threading.Event()
    # paho reads about 10,000 messages/s: with more, a PINGRESP waits behind them for longer than this keep-alive.
    flooding = threading.Thread(target=flood, args=(link, stop, {"bulk": 0.001, "paho": 0.05}[reader]), daemon=True)
    flooding.start()
    for _ in range(4):
        link.until(PINGREQ)
        link.send(packet(0xD0))
    stop.set()
    flooding.join()
    assert not played.told("disconnected")
    assert len(played.payloads()) > 1_000


def test_a_keep_alive_that_the_broker_demands_is_kept(play: MakePlayed) -> None:
    played = play()
    link = played.accept(packet(0x20, b"\x00\x00\x03\x13\x00\x01"))  # Server Keep Alive: 1 s
    link.until(PINGREQ)
    assert played.connect[8:10] == struct.pack(">H", 30), "the one we asked for"


@pytest.mark.parametrize(
    ("sent", "told", "code"),
    [
        (b"\x32" + varint(268_435_455) + b"\x00\x01t", "maximum packet size", 0x95),
        (b"\x32\xff\xff\xff\xff\x01", "does not end within 4 bytes", 0x81),
        (packet(0x36, b"\x00\x01t\x00\x07\x00"), "QoS 3", 0x81),
        (packet(0x90, b"\x00"), "type 9 is malformed", 0x81),
        (packet(0xF0, b"\x18\x00"), "type 15", 0x82),
    ],
)
def test_a_stream_that_cannot_be_read_on_ends_with_a_reason_on_both_sides(
    play: MakePlayed, sent: bytes, told: str, code: int
) -> None:
    played = play()
    link = played.accept()
    link.send(sent)
    assert told in played.lost()
    assert link.until(DISCONNECT)[:1] == bytes([code])
    assert link.rest() == []
    played.accept()
    assert struct.pack(">BI", 0x27, MAX_PACKET_BYTES) in played.connect, "the broker was told"


def test_a_session_with_messages_of_qos_2_is_answered_lawfully_counted_and_told(play: MakePlayed) -> None:
    played = play()
    link = played.accept()
    link.send(reading(1), reading(2, qos=2), reading(3, qos=2), reading(4))
    until(lambda: len(played.payloads()) == 4, "they are handed over")
    played.subscriber.acknowledge(1, [1, 2, 3, 4])
    assert [link.read() for _ in range(4)] == [
        *answers(PUBACK, 1), *answers(PUBREC, 2, 3), *answers(PUBACK, 4)
    ]  # fmt: skip
    link.send(packet(0x62, b"\x00\x02"), packet(0x62, b"\x00\x03"))
    assert [link.read() for _ in range(2)] == answers(PUBCOMP, 2, 3)
    assert (played.subscriber.qos_2, len(played.told("qos_2"))) == (2, 1)
    link.send(Publish("devices/s/telemetry", b"0002", packet_id=2))
    until(lambda: len(played.payloads()) == 5, "the packet id is free again")
    played.subscriber.acknowledge(1, [2])
    assert link.read() == answers(PUBACK, 2)[0]


def test_what_the_broker_says_of_itself_is_asked_for_last_and_heard_apart(play: MakePlayed) -> None:
    played = play(watched=(WATCHED,))
    link = played.accept()
    assert WATCHED.encode() in link.take_subscription(granted=0)
    said = Publish(WATCHED, b"17", qos=0, retain=True)
    link.send(reading(1, qos=0), said, Publish("$SYS/other", b"0000", qos=0), reading(2), said)
    until(lambda: len(played.watched) == 2, "it is heard")
    assert [one.payload for one in played.watched] == [b"17", b"17"]
    assert played.payloads() == [b"0001", b"0000", b"0002"]
    assert played.told("subscribed") == [{"topics": 1}]


def test_it_is_asked_for_again_and_again(play: MakePlayed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriber.SysTopics.__init__, "__defaults__", ((), 0.1))
    played = play(watched=(WATCHED,))
    link = played.accept()
    for _ in range(3):
        assert WATCHED.encode() in link.take_subscription(granted=0)


def test_a_broker_that_refuses_to_say_is_left_alone(play: MakePlayed) -> None:
    played = play(watched=(WATCHED,))
    link = played.accept()
    link.take_subscription(granted=0x87)
    until(lambda: played.told("watch_refused") == [{"reason": "Not authorized"}], "it is told")
    assert not played.told("subscription_refused")
    link.close()
    link = played.accept()
    link.send(reading(1))
    until(lambda: played.payloads(2), "the readings come")
    played.subscriber.stop()
    assert SUBSCRIBE not in [first for first, _ in link.rest()]


def test_a_broker_that_ends_the_connection_instead_is_asked_twice(play: MakePlayed) -> None:
    played = play(watched=(WATCHED,))
    for _ in range(2):
        link = played.accept()
        link.until(SUBSCRIBE)
        link.close()
    link = played.accept()
    assert played.told("watch_refused") == [{"reason": "the connection ends when it is asked"}]
    link.send(reading(1))
    until(lambda: played.payloads(3), "the readings come")
    played.subscriber.stop()
    assert SUBSCRIBE not in [first for first, _ in link.rest()]


def test_a_refused_connection_is_told_with_the_reason_of_the_broker(play: MakePlayed) -> None:
    played = play()
    played.accept(packet(0x20, b"\x00\x88\x00"), subscribed=False)
    assert "Server unavailable" in played.lost()
    played.accept(CONNACK)


@pytest.mark.parametrize(
    ("topic_filter", "missing", "told"),
    [
        ("$share/group/devices/s/telemetry", b"\x2a\x00", "--share"),
        ("devices/+/telemetry", b"\x28\x00", "wildcards"),
    ],
)
def test_a_broker_without_what_is_needed_is_refused_before_it_can_keep_silent(
    play: MakePlayed, topic_filter: str, missing: bytes, told: str
) -> None:
    played = play(topic_filter=topic_filter)
    link = played.accept(packet(0x20, b"\x00\x00\x02" + missing), subscribed=False)
    assert told in str(until(lambda: played.told("refused"), "it is refused")[0]["reason"])
    assert SUBSCRIBE not in [first for first, _ in link.rest()]
    assert not played.told("connected")


def test_a_broker_that_lacks_what_is_not_needed_is_fine(play: MakePlayed) -> None:
    played = play(topic_filter="devices/s/telemetry")
    played.accept(packet(0x20, b"\x00\x00\x04\x28\x00\x2a\x00"))
    until(lambda: played.told("subscribed"), "it subscribes")


def test_after_it_served_once_a_broker_that_lost_a_feature_is_tried_again(play: MakePlayed) -> None:
    played = play()
    played.accept().close()
    played.lost()
    played.accept(packet(0x20, b"\x00\x00\x02\x28\x00"), subscribed=False)
    assert "wildcards" in played.lost(2)
    played.accept()
    assert not played.told("refused")


def test_a_session_that_the_broker_keeps_for_less_long_is_told_once(play: MakePlayed) -> None:
    played = play()
    connack = packet(0x20, b"\x00\x00\x05\x11" + struct.pack(">I", 60))
    played.accept(connack).close()
    played.lost()
    played.accept(connack)
    until(lambda: len(played.told("connected")) == 2, "it connects again")
    assert played.told("session_shortened") == [{"asked_s": 3_600, "granted_s": 60}]
