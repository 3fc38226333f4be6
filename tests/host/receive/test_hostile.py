"""Hostile lengths: nothing crashes, hangs, or is kept without bound, and no size makes the time quadratic."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.framing import MAX_PACKET_BYTES, Stream
from tests.host.receive.driven import ours, pahos
from tests.host.receive.packets import Publish, packet, streams, varint
from tests.work import processor_seconds

ENDS = {"frame_length", "frame_too_large", "frame_malformed", "frame_unexpected", "publish_qos", "no_mqtt_5"}


def fed(stream: Stream, data: bytes, piece: int) -> int:
    """Feed data in pieces; gives how many packets came out."""
    return sum(len(stream.feed(data[at : at + piece])) for at in range(0, len(data), piece))


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, MAX_PACKET_BYTES - 5])
def test_every_length_up_to_the_largest_allowed_is_read(size: int) -> None:
    body = bytes(size - 1) + b"x" if size else b""
    for piece in (4_096, 1 << 18, 1 << 25):
        stream = Stream()
        data = packet(0x30, body) + b"\xd0\x00"
        frames = [frame for at in range(0, len(data), piece) for frame in stream.feed(data[at : at + piece])]
        assert frames == [(0x30, body), (0xD0, b"")]
        assert stream.unread_bytes == 0


@pytest.mark.parametrize("announced", [MAX_PACKET_BYTES - 4, MAX_PACKET_BYTES, 268_435_455])
def test_a_packet_above_the_bound_is_refused_by_its_length_and_nothing_of_it_is_kept(announced: int) -> None:
    stream = Stream()
    with pytest.raises(WireError, match="maximum packet size") as caught:
        stream.feed(b"\x30" + varint(announced) + bytes(1_000))
    assert (caught.value.reason, stream.unread_bytes) == ("frame_too_large", 0)


@pytest.mark.parametrize("most", [129, 130, 200, 16_385, 16_386, 16_387])
def test_a_bound_of_any_size_holds_to_the_byte(most: int) -> None:
    largest = next(p for p in (packet(0x30, bytes(size)) for size in range(most, most - 6, -1)) if len(p) <= most)
    assert len(Stream(most).feed(largest)) == 1
    with pytest.raises(WireError, match="maximum packet size"):
        Stream(most).feed(packet(0x30, bytes(most)))


def test_a_large_packet_that_trickles_in_takes_no_more_than_its_announced_size() -> None:
    stream = Stream()
    data = packet(0x30, bytes(MAX_PACKET_BYTES - 5))
    tracemalloc.start()
    try:
        for at in range(0, len(data) - 100, 65_536):
            stream.feed(data[at : at + 65_536])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.15 * MAX_PACKET_BYTES
    assert peak < 2.5 * MAX_PACKET_BYTES, "a growing buffer may move once"


def test_two_byte_pieces_take_no_more_memory_than_large_ones() -> None:
    stream = Stream()
    stream.feed(b"\x30" + varint(1_000_000))
    tracemalloc.start()
    try:
        for at in range(200_000):
            stream.feed(b"%02d" % (at % 100))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 600_000


def test_reading_time_grows_with_the_size_and_not_with_its_square() -> None:
    """16 MiB in pieces of 4 KB took 2.6 s when what was unread was joined with each piece, and takes 0.02 s."""

    def seconds(size: int) -> float:
        data = packet(0x30, bytes(size))
        return processor_seconds(lambda: fed(Stream(), data, 4_096))

    small, large = seconds(1 << 20), seconds(16_000_000)
    assert large < 150 * small, "the square of 16 is 256"


@pytest.mark.parametrize("data", [b"\x30\xff\xff\xff\xff\x01", b"\x30\x80\x80\x80\x80\x00", b"\xd0\x80\x80\x80\x80"])
@pytest.mark.parametrize("piece", [1, 2, 100])
def test_a_length_that_does_not_end_within_4_bytes_ends_the_stream(data: bytes, piece: int) -> None:
    with pytest.raises(WireError) as caught:
        fed(Stream(), data, piece)
    assert caught.value.reason == "frame_length"


@settings(max_examples=60, deadline=None)
@given(streams())
def test_a_stream_that_ends_at_any_byte_gives_the_whole_packets_before(drawn: tuple[list[Publish], bytes]) -> None:
    publishes, stream = drawn
    for end in {*range(min(len(stream), 300)), *range(max(0, len(stream) - 50), len(stream))}:
        reader = Stream()
        frames = [frame for frame in reader.feed(stream[:end]) if frame[0] & 0xF0 == 0x30]
        assert frames == [one.frame for one in publishes[: len(frames)]]
        rest = [frame for frame in reader.feed(stream[end:]) if frame[0] & 0xF0 == 0x30]
        assert frames + rest == [one.frame for one in publishes]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_after_a_broken_byte_it_reads_on_as_paho_does_or_ends_the_connection(data: st.DataObject) -> None:
    _, stream = data.draw(streams().filter(lambda drawn: drawn[1] != b""))
    at = data.draw(st.integers(0, min(len(stream), 600) - 1))
    broken = stream[:at] + bytes([data.draw(st.integers(0, 255))]) + stream[at + 1 :]
    cut = [broken[byte : byte + 1] for byte in range(min(len(broken), 1_000))] + [broken[1_000:]]
    frames, bulk = ours("bulk", cut)
    assert not bulk.broken or bulk.broken in ENDS or bulk.broken.isdigit()
    read = [publish_packet.read(*frame) for frame in frames]
    messages, _ = pahos(cut)
    handed = [(one.mid, bytes(one.payload)) for one in messages if one.qos < 2]
    if not bulk.broken:  # else the broker sends again what is not acknowledged
        assert [(one.packet_id, one.payload) for one in read if one.qos < 2][: len(handed)] == handed


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_random_bytes_end_the_connection_or_are_read_and_never_crash(cut: list[bytes]) -> None:
    frames, bulk = ours("bulk", cut)
    assert not bulk.broken or bulk.broken in ENDS or bulk.broken.isdigit()
    for frame in frames:
        publish_packet.read(*frame)


@settings(max_examples=200, deadline=None)
@given(first=st.sampled_from(range(0x10, 0x100)), body=st.binary(max_size=12))
def test_any_single_packet_is_taken_or_ends_the_connection_with_a_reason(first: int, body: bytes) -> None:
    _, bulk = ours("bulk", [packet(first, body)])
    assert not bulk.broken or bulk.broken in ENDS or bulk.broken.isdigit()
