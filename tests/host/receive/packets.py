"""MQTT packets as a broker writes them, spelt out here and with nobody's encoder; and random lawful ones."""

import itertools
import struct
from dataclasses import dataclass, replace

from hypothesis import strategies as st

NAMES = {
    0x01: "PayloadFormatIndicator",
    0x02: "MessageExpiryInterval",
    0x03: "ContentType",
    0x08: "ResponseTopic",
    0x09: "CorrelationData",
    0x0B: "SubscriptionIdentifier",
    0x23: "TopicAlias",
    0x26: "UserProperty",
}
Value = int | str | bytes | tuple[str, str]


def varint(number: int) -> bytes:
    written = b""
    while True:
        number, low = number >> 7, number & 127
        written += bytes([low | (128 if number else 0)])
        if not number:
            return written


def packet(first: int, body: bytes = b"") -> bytes:
    return bytes([first]) + varint(len(body)) + body


def counted(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


@dataclass(frozen=True)
class Publish:
    """One PUBLISH; properties as (identifier, value) in the order in which they are written."""

    topic: str
    payload: bytes = b""
    qos: int = 1
    dup: bool = False
    retain: bool = False
    packet_id: int = 0
    properties: tuple[tuple[int, Value], ...] = ()

    @property
    def frame(self) -> tuple[int, bytes]:
        properties = b"".join(bytes([identifier]) + written(identifier, value) for identifier, value in self.properties)
        number = struct.pack(">H", self.packet_id) if self.qos else b""
        body = counted(self.topic.encode()) + number + varint(len(properties)) + properties + self.payload
        return 0x30 | self.dup << 3 | self.qos << 1 | self.retain, body

    def __bytes__(self) -> bytes:
        return packet(*self.frame)

    def values(self) -> dict[str, list[Value]]:
        """By name, each in order."""
        found: dict[str, list[Value]] = {}
        for identifier, value in self.properties:
            found.setdefault(NAMES[identifier], []).append(value)
        return found


def written(identifier: int, value: Value) -> bytes:
    if isinstance(value, tuple):
        return b"".join(counted(part.encode()) for part in value)
    if isinstance(value, int):
        return varint(value) if identifier == 0x0B else value.to_bytes({0x01: 1, 0x02: 4, 0x23: 2}[identifier])
    return counted(value.encode() if isinstance(value, str) else value)


# MQTT 5.0, 1.5.4: neither surrogates nor U+0000. U+FEFF is lawful, but paho refuses it: a test of its own.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=20)
PAYLOADS = st.binary(max_size=200) | st.sampled_from([127, 128, 16_383, 16_384, 70_000]).map(bytes)
ONCE = {
    0x01: st.integers(0, 1),
    0x02: st.integers(0, 2**32 - 1),
    0x03: TEXT,
    0x08: TEXT,
    0x09: st.binary(max_size=20),
    0x23: st.integers(1, 65_535),
}
REPEATED = st.tuples(st.just(0x26), st.tuples(TEXT, TEXT)) | st.tuples(st.just(0x0B), st.integers(1, 268_435_455))


@st.composite
def properties(draw: st.DrawFn) -> tuple[tuple[int, Value], ...]:
    once = draw(st.sets(st.sampled_from(sorted(ONCE))))
    chosen = [(identifier, draw(ONCE[identifier])) for identifier in sorted(once)]
    return tuple(draw(st.permutations(chosen + draw(st.lists(REPEATED, max_size=6)))))


TOPICS = TEXT.filter(lambda topic: topic and not set("+#") & set(topic))
PUBLISHES = st.builds(
    Publish, TOPICS, PAYLOADS, st.integers(0, 2), st.booleans(), st.booleans(), st.just(0), properties()
)
OTHERS = st.sampled_from(
    [
        packet(0xD0),  # PINGRESP
        packet(0x40, b"\x00\x01"),  # PUBACK, short
        packet(0x40, b"\x00\x02\x10\x00"),  # PUBACK, no matching subscribers
        packet(0x40, b"\x00\x03\x97\x06\x1f\x00\x03why"),  # PUBACK, quota exceeded, with a reason string
        packet(0x90, b"\x00\x07\x00\x01"),  # SUBACK, granted QoS 1
        packet(0x90, b"\x00\x08\x09\x26\x00\x01k\x00\x03\xe2\x82\xac\x87"),  # SUBACK with a user property, refused
        packet(0xB0, b"\x00\x09\x00\x00"),  # UNSUBACK
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Publish], bytes]:
    """PUBLISH packets with packet ids of their own, and the bytes they come in, among other packets.

    A PUBREL follows each PUBLISH of QoS 2, as if the PUBREC had come in between.
    """
    publishes, stream = [], b""
    identifiers = itertools.count(draw(st.sampled_from([1, 255, 65_000])))
    for one in draw(st.lists(PUBLISHES | OTHERS, max_size=6)):
        if isinstance(one, Publish):
            numbered = replace(one, packet_id=next(identifiers), dup=one.dup and one.qos > 0) if one.qos else one
            numbered = replace(numbered, dup=numbered.dup and numbered.qos > 0)
            publishes.append(numbered)
            stream += bytes(numbered)
            if numbered.qos == 2:
                stream += packet(0x62, struct.pack(">H", numbered.packet_id))
        else:
            stream += one
    return publishes, stream


@st.composite
def pieces(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """The stream cut anywhere; one in some is cut at every byte of its first 2,000."""
    if draw(st.integers(0, 3)) == 0:
        return [stream[at : at + 1] for at in range(min(len(stream), 2_000))] + [stream[2_000:]]
    cuts = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    return [stream[start:end] for start, end in itertools.pairwise(cuts)]
