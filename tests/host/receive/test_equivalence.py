"""The bulk reader hands over what paho's own reader hands over, for every lawful packet, in pieces of any size."""

from types import SimpleNamespace
from typing import Any

import paho.mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import client as paho

from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.network import bulk_reader
from tests.host.receive.driven import RECEIVE, Pieces, ours, pahos
from tests.host.receive.packets import NAMES, Publish, packet, pieces, streams

Handed = tuple[str, bytes, int, bool, bool, int, dict[str, Any]]
"""topic, payload, qos, retain, dup, packet id, properties by name."""
# Of one connection only, and no use behind the reader; that the bytes of a frame are right says they are there.
NOT_READ = ("TopicAlias", "SubscriptionIdentifier")


def by_paho(message: paho.MQTTMessage) -> Handed:
    found = {name: getattr(message.properties, name) for name in NAMES.values() if hasattr(message.properties, name)}
    values = {name: list(value) if isinstance(value, list) else [value] for name, value in found.items()}
    return message.topic, bytes(message.payload), message.qos, message.retain, message.dup, message.mid, values


def by_us(frame: Frame) -> Handed:
    read = publish_packet.parse(*frame)
    assert read.fault == ""
    names = publish_packet.PROPERTY_NAMES
    values: dict[str, Any] = {names[identifier]: [value] for identifier, value in read.passthrough}
    if read.user_properties:
        values["UserProperty"] = list(read.user_properties)
    return read.topic, read.payload, read.qos, read.retain, read.dup, read.packet_id, values


def meant(publish: Publish) -> Handed:
    of = publish
    return of.topic, of.payload, of.qos, of.retain, of.dup, of.packet_id, of.values()


def without(handed: Handed) -> Handed:
    return *handed[:6], {name: value for name, value in handed[6].items() if name not in NOT_READ}


def in_order(handed: list[Handed]) -> list[Handed]:
    """paho hands over a message of QoS 2 at its PUBREL, so these are ordered among themselves only."""
    at_qos_2 = [one for one in handed if one[2] == 2]
    return [one for one in handed if one[2] < 2] + sorted(at_qos_2, key=lambda one: one[5])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_both_readers_hand_over_the_same_and_answer_with_the_same_bytes(data: st.DataObject) -> None:
    publishes, stream = data.draw(streams())
    cut = data.draw(pieces(stream))
    frames, bulk = ours("bulk", cut)
    messages, stock = pahos(cut)
    assert (bulk.broken, stock.broken) == ("", "")
    assert frames == [one.frame for one in publishes]
    assert in_order([by_paho(one) for one in messages]) == in_order([meant(one) for one in publishes])
    assert [by_us(one) for one in frames] == [without(meant(one)) for one in publishes]
    assert sorted(bulk.sent) == sorted(stock.sent)
    assert (bulk.subscribed, bulk.published) == (stock.subscribed, stock.published)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_behind_the_reader_cannot_tell_which_one_it_was(data: st.DataObject) -> None:
    publishes, stream = data.draw(streams())
    cut = data.draw(pieces(stream))
    frames, plain = ours("paho", cut)
    assert plain.broken == ""
    assert in_order([by_us(one) for one in frames]) == in_order([without(meant(one)) for one in publishes])
    assert sorted(plain.sent) == sorted(ours("bulk", cut)[1].sent)


@pytest.mark.parametrize("identifier", [0x03, 0x08, 0x26])
def test_a_lawful_byte_order_mark_ends_the_connection_in_paho_and_not_here(identifier: int) -> None:
    value = ("note", "\ufeff21.5") if identifier == 0x26 else "\ufeff21.5"
    publish = Publish("a", b"x", packet_id=7, properties=((identifier, value),))
    frames, bulk = ours("bulk", [bytes(publish)])
    assert bulk.broken == ""
    assert by_us(frames[0]) == meant(publish)
    assert bulk.sent == [b"\x40\x02\x00\x07"]
    messages, stock = pahos([bytes(publish)])
    assert (messages, stock.broken != "") == ([], True)


@pytest.mark.parametrize("reader", list(RECEIVE))
def test_a_topic_that_is_not_utf8_is_counted_and_acknowledged(reader: str) -> None:
    frames, driven = ours(reader, [packet(0x32, b"\x00\x02\xff\xfe\x00\x07\x00x")])
    assert driven.broken == ""
    assert publish_packet.read(*frames[0]).fault == "topic_not_utf8"
    assert driven.sent == [b"\x40\x02\x00\x07"]


def test_no_name_of_ours_hides_one_of_paho() -> None:
    stock = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client, _ = RECEIVE["bulk"]("ours", lambda frames, size: None)
    taken = set(vars(stock)) | set(dir(paho.Client))
    assert not (set(vars(client)) - set(vars(stock))) & taken
    ours_in_class = {name for name in vars(type(client)) if not name.startswith("__")}
    assert ours_in_class & taken == {"loop_read", "reconnect", "_sock_send"}


def test_reads_that_follow_close_on_one_another_wait_a_little_and_one_that_comes_alone_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, pauses = [100.0], list[float]()
    monkeypatch.setattr(bulk_reader, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    client, _ = bulk_reader.receive("ours", lambda frames, size: None, pauses.append)
    client._sock = Pieces([])
    for after_s, paused in ((0, 0), (0.0001, 1), (0.0019, 2), (0.0021, 2), (0.01, 2), (0.0005, 3)):
        now_s[0] += after_s
        client.loop_read()
        assert len(pauses) == paused
    assert set(pauses) == {0.001}
