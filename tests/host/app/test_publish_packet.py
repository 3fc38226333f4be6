"""Reading PUBLISH packets and the stream they come in: right on what clients write, unharmed by anything else."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt import framing, publish_packet

# What both MQTT and paho's own encoder can carry.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


def body(topic: bytes, packet_id: int, properties: bytes, payload: bytes) -> bytes:
    number = packet_id.to_bytes(2, "big") if packet_id else b""
    return len(topic).to_bytes(2, "big") + topic + number + properties + payload


@given(
    topic=TEXT,
    packet_id=st.integers(0, 65_535),
    pairs=st.lists(st.tuples(TEXT, TEXT), max_size=5),
    content_type=st.none() | TEXT,
    correlation=st.none() | st.binary(max_size=20),
    expiry=st.none() | st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=200),
    dup=st.booleans(),
    retain=st.booleans(),
)
def test_what_paho_writes_is_read_back(
    topic: str,
    packet_id: int,
    pairs: list[tuple[str, str]],
    content_type: str | None,
    correlation: bytes | None,
    expiry: int | None,
    payload: bytes,
    dup: bool,
    retain: bool,
) -> None:
    written = Properties(PacketTypes.PUBLISH)
    if pairs:
        written.UserProperty = pairs
    expected = set()
    for identifier, name, value in (
        (0x02, "MessageExpiryInterval", expiry),
        (0x03, "ContentType", content_type),
        (0x09, "CorrelationData", correlation),
    ):
        if value is not None:
            setattr(written, name, value)
            expected.add((identifier, value))
    first = 0x30 | dup << 3 | (packet_id > 0) << 1 | retain
    packet = publish_packet.parse(first, body(topic.encode(), packet_id, written.pack(), payload))
    assert (packet.topic, packet.packet_id, packet.payload) == (topic, packet_id, payload)
    assert (packet.dup, packet.retain, packet.qos) == (dup, retain, int(packet_id > 0))
    assert list(packet.user_properties) == pairs
    assert set(packet.passthrough) == expected
    assert packet.fault == ""


@given(first=st.integers(0x30, 0x3F), data=st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_wire_error(first: int, data: bytes) -> None:
    try:
        packet = publish_packet.parse(first, data)
    except WireError as error:
        assert error.reason in ("publish_truncated", "publish_qos")
    else:
        assert packet.topic == "" or packet.topic.encode() in data


@pytest.mark.parametrize(
    ("properties", "fault"),
    [
        (b"\x01\x7f", "properties_unknown"),
        (b"\x03\x26\x00\x09", "properties_truncated"),
        (b"\x02\x02\x00", "properties_truncated"),
        (b"\x07\x26\x00\x01\xff\x00\x01a", "properties_not_utf8"),
        (b"\x04\x03\x00\x01\xff", "properties_not_utf8"),
        (b"\x8a\x0a" + b"\x26\x00\x00\x00\x00" * 258, "properties_too_many"),
    ],
)
def test_broken_properties_cost_the_properties_and_not_the_message(properties: bytes, fault: str) -> None:
    packet = publish_packet.parse(0x32, body(b"t", 7, properties, b"payload"))
    assert (packet.fault, packet.packet_id, packet.payload) == (fault, 7, b"payload")
    assert list(packet.user_properties) == []


def test_a_topic_that_is_not_utf8_can_still_be_acknowledged() -> None:
    packet = publish_packet.parse(0x32, body(b"\xff", 7, b"\0", b"x"))
    assert (packet.topic, packet.fault, packet.packet_id) == ("", "topic_not_utf8", 7)


@given(
    sizes=st.lists(st.integers(0, 300) | st.sampled_from([127, 128, 16_383, 16_384]), max_size=6),
    cuts=st.lists(st.integers(0, 40_000), max_size=4),
)
def test_a_stream_cut_anywhere_gives_the_same_packets(sizes: list[int], cuts: list[int]) -> None:
    written = [(0x30 + at, bytes([at]) * size) for at, size in enumerate(sizes)]
    stream = b"".join(bytes([first]) + variable(len(data)) + data for first, data in written)
    read, reader = [], framing.Stream()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in pairwise(edges):
        read += reader.feed(stream[start:end])
    assert read == written
    assert reader.unread_bytes == 0


def test_a_length_of_five_bytes_ends_the_stream() -> None:
    with pytest.raises(WireError, match="4 bytes"):
        framing.Stream().feed(b"\x30\xff\xff\xff\xff\x01")


def variable(number: int) -> bytes:
    written = b""
    while True:
        number, low = number >> 7, number & 127
        written += bytes([low | (128 if number else 0)])
        if not number:
            return written
