"""The short way through a PUBLISH says what the long way says, or nothing."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.messages import fast_path
from motetrace_host.core.messages.fast_path import PlainContext
from motetrace_host.core.messages.record import NO_AGE
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.spans.protobuf import varint
from motetrace_host.core.wire import context

TOPIC = b"\x00\x03a/b"
AT = len(TOPIC) + 2
TRACEPARENT = b"00-0a010203040000000711111111111111-7f7e7d7c00000007-03"


def user_property(name: bytes, value: bytes) -> bytes:
    return b"\x26" + struct.pack(">H", len(name)) + name + struct.pack(">H", len(value)) + value


def expiry(seconds: int) -> bytes:
    return b"\x02" + struct.pack(">I", seconds)


def body(*properties: bytes, payload: bytes = b"21.5") -> bytes:
    joined = b"".join(properties)
    return TOPIC + b"\x00\x07" + varint(len(joined)) + joined + payload


def agree(packet: bytes) -> PlainContext | None:
    """Read both ways; where the short one says something, the long one says the same."""
    plain = fast_path.read(packet, AT)
    if plain is None:
        return None
    parsed = publish_packet.parse(0x32, packet)
    assert parsed.fault == ""
    found = context.read(parsed.user_properties, parsed.payload)
    nonce, seq, flags, trace_id, span_id, age_ms, payload_bytes, left_s = plain
    assert parsed.passthrough == (() if left_s == fast_path.NO_EXPIRY else ((2, left_s),))
    assert (found.boot_nonce, found.seq, found.flags, found.faults) == (nonce, seq, flags, ())
    assert found.age_ms == (None if age_ms == NO_AGE else age_ms)
    assert len(parsed.payload) == payload_bytes
    assert (found.carrier, found.baggage) == ("user_property", "")
    if trace_id:
        assert (found.origin, found.trace_id, found.parent_id) == ("traceparent", trace_id, span_id)
    else:
        assert found.origin == "seqref"
    return plain


@pytest.mark.parametrize(
    "properties",
    [
        [user_property(b"traceparent", TRACEPARENT)],
        [user_property(b"traceparent", TRACEPARENT), user_property(b"tracestate", b"mt=a:1f4")],
        [user_property(b"traceparent", TRACEPARENT), user_property(b"tracestate", b"mt=a:0ffffff")],
        [user_property(b"seqref", b"0a01020304-00000007-03")],
        [user_property(b"seqref", b"0a01020304-00000007-02-00001f4")],
    ],
)
def test_what_our_devices_send_goes_the_short_way(properties: list[bytes]) -> None:
    assert agree(body(*properties)) is not None
    assert agree(body(*properties, payload=b"")) is not None
    for left_s in (0, 59, 2**32 - 1):
        plain = agree(body(expiry(left_s), *properties))
        assert plain is not None
        assert plain[-1] == left_s


HEX = b"0123456789abcdef"
CHARACTERS = st.sampled_from(list(HEX + b"-_+ gAF\x00\x7f\xff:=;,mt"))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A packet of ours with a few bytes replaced, put in, taken out, or cut off."""
    properties = [
        draw(st.sampled_from([
            user_property(b"traceparent", TRACEPARENT),
            user_property(b"seqref", b"0a01020304-00000007-03"),
            user_property(b"seqref", b"0a01020304-00000007-03-1f4"),
        ]))
    ]  # fmt: skip
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        properties.insert(0, expiry(draw(st.integers(0, 300))))
    for extra in (b"mt=a:1f4", b"mt=a:00000000f", b"mt=b:1", b"x=y", b"mt=a:1_f"):
        if draw(st.integers(0, 7)) == 0:
            properties.append(user_property(draw(st.sampled_from([b"tracestate", b"baggage", b"x"])), extra))
    packet = bytearray(body(*properties, payload=draw(st.binary(max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(AT, len(packet) - 1))
        way = draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
        if way == "replace":
            packet[at] = draw(CHARACTERS | st.integers(0, 255))
        elif way == "insert":
            packet.insert(at, draw(CHARACTERS))
        elif way == "delete" and len(packet) > AT + 1:
            del packet[at]
        elif len(packet) > AT + 1:
            del packet[max(at, AT + 1) :]
    return bytes(packet)


@given(spoiled())
def test_whatever_is_spoiled_the_short_way_never_says_something_else(packet: bytes) -> None:
    try:
        agree(packet)
    except WireError as error:
        raise AssertionError(f"the long way refuses what the short way read: {error}") from error


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_left(data: bytes) -> None:
    fast_path.read(data, min(AT, len(data)))


@pytest.mark.parametrize(
    "value",
    [
        TRACEPARENT.upper(),
        b"01" + TRACEPARENT[2:],
        TRACEPARENT[:-2] + b"01",  # random flag not set: its bits need not be random
        TRACEPARENT.replace(b"7f7e7d7c00000007", b"7f7e7d7c00000008"),  # foreign
        b"00-" + bytes(HEX[:1]) * 32 + b"-" + bytes(HEX[:1]) * 16 + b"-03",
    ],
)
def test_what_is_not_ours_goes_the_long_way(value: bytes) -> None:
    assert fast_path.read(body(user_property(b"traceparent", value)), AT) is None
