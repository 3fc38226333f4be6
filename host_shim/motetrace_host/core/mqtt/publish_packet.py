"""The body of an MQTT 5 PUBLISH packet, read leniently enough that no device can stop the reader.

Why not the client library's reader: it rejects what brokers forward (a U+FEFF in a user property, for one) by
dropping the connection, whereupon the broker sends the same message again, for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from motetrace_host.core.errors import WireError

_USER_PROPERTY = 0x26
_EXPIRY = 0x02
_VARIABLE = 0x0B  # Subscription Identifier
# identifier -> width in bytes of the fixed-width ones
_FIXED = {0x01: 1, _EXPIRY: 4, 0x23: 2}
_CORRELATION = 0x09
# Content Type, Response Topic, Correlation Data: two length bytes, then the value
_COUNTED = frozenset((0x03, 0x08, _CORRELATION))
_MAX_USER_PROPERTIES = 256  # beyond it a message is not read further, only counted

PROPERTY_NAMES = {
    0x01: "PayloadFormatIndicator",
    0x02: "MessageExpiryInterval",
    0x03: "ContentType",
    0x08: "ResponseTopic",
    0x09: "CorrelationData",
}
"""The standard's names of those in `PublishPacket.passthrough`, without spaces."""
NO_PROPERTIES: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class PublishPacket:
    """One received PUBLISH.

    Attributes:
        topic: empty when it was not UTF-8 (see `fault`).
        packet_id: 1..65535, 0 at QoS 0.
        qos: 0..2.
        dup: the broker sent it on an earlier connection already.
        retain: sent because it was retained, not because it was just published.
        payload: any bytes.
        user_properties: in the order received, names may repeat.
        passthrough: (property identifier, value) of what a republish must keep: payload format, message expiry,
            content type, response topic, correlation data.
        fault: why the properties or the topic could not be read, in snake_case; empty when all was well.
    """

    topic: str
    packet_id: int
    qos: int
    dup: bool
    retain: bool
    payload: bytes
    user_properties: tuple[tuple[str, str], ...] | list[tuple[str, str]] = NO_PROPERTIES
    passthrough: tuple[tuple[int, int | str | bytes], ...] = ()
    fault: str = ""

    @property
    def left_s(self) -> int | None:
        """What is left of its message expiry interval, 0..2**32-1 s; None when it has none."""
        return next((value for name, value in self.passthrough if name == _EXPIRY and isinstance(value, int)), None)


def parse(first_byte: int, body: bytes) -> PublishPacket:
    """Read a PUBLISH packet.

    Args:
        first_byte: type and flags, the first byte of the fixed header.
        body: everything after the remaining length.
    Raises:
        WireError: the packet is too short to hold its topic, its packet id or its property length, so that it
            cannot even be acknowledged (`publish_truncated`), or its QoS is 3 (`publish_qos`).
    Source: MQTT 5.0, 3.3.
    """
    qos = first_byte >> 1 & 3
    if qos == 3:
        raise WireError("publish_qos", "a PUBLISH has QoS 3; 0, 1 and 2 exist")
    position = 2 + int.from_bytes(body[:2], "big")
    raw_topic = body[2:position]
    packet_id = 0
    if qos:
        packet_id = int.from_bytes(body[position : position + 2], "big")
        position += 2
    if position >= len(body):
        raise WireError("publish_truncated", f"a PUBLISH of {len(body)} bytes ends before its properties")
    length, position = _variable(body, position, len(body))
    end = position + length
    if end > len(body):
        raise WireError("publish_truncated", f"a PUBLISH of {len(body)} bytes ends within its properties")
    packet = PublishPacket("", packet_id, qos, bool(first_byte & 8), bool(first_byte & 1), body[end:])
    try:
        packet.topic = raw_topic.decode()
    except UnicodeDecodeError:
        packet.fault = "topic_not_utf8"
        return packet
    if length:
        try:
            packet.user_properties, packet.passthrough = _properties(body, position, end)
        except WireError as error:
            packet.fault = error.reason
    return packet


def read(first_byte: int, body: bytes) -> PublishPacket:
    """Read a PUBLISH packet as `parse` does; one too broken to be acknowledged has packet id 0 and a fault."""
    try:
        return parse(first_byte, body)
    except WireError as error:
        return PublishPacket("", 0, 0, False, False, b"", fault=error.reason)


def _properties(
    body: bytes, position: int, end: int
) -> tuple[list[tuple[str, str]], tuple[tuple[int, int | str | bytes], ...]]:
    user: list[tuple[str, str]] = []
    others: list[tuple[int, int | str | bytes]] = []
    while position < end:
        identifier = body[position]
        position += 1
        if identifier == _USER_PROPERTY:
            name, position = _counted(body, position, end)
            value, position = _counted(body, position, end)
            user.append((_text(name), _text(value)))
            if len(user) > _MAX_USER_PROPERTIES:
                raise WireError("properties_too_many", f"more than {_MAX_USER_PROPERTIES} user properties")
        elif identifier in _FIXED:
            after = position + _FIXED[identifier]
            if after > end:
                raise WireError("properties_truncated", "the properties end within a number")
            if identifier != 0x23:  # a topic alias belongs to one connection
                others.append((identifier, int.from_bytes(body[position:after], "big")))
            position = after
        elif identifier in _COUNTED:
            raw, position = _counted(body, position, end)
            others.append((identifier, raw if identifier == _CORRELATION else _text(raw)))
        elif identifier == _VARIABLE:
            _, position = _variable(body, position, end)
        else:
            raise WireError("properties_unknown", f"property identifier {identifier:#04x} does not belong to PUBLISH")
    return user, tuple(others)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise WireError("properties_not_utf8", "a property is not UTF-8") from None


def _counted(body: bytes, position: int, end: int) -> tuple[bytes, int]:
    start = position + 2
    after = start + int.from_bytes(body[position:start], "big")
    if start > end or after > end:
        raise WireError("properties_truncated", "the properties end within a string")
    return body[start:after], after


def _variable(body: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        if position >= end:
            break
        byte = body[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise WireError("publish_truncated", "a variable byte integer has no end within 4 bytes")
