"""MQTT 3.1.1 and 5.0, as far as a device speaks it that only publishes at QoS 1."""

from __future__ import annotations

CONNACK, PUBACK = 0x20, 0x40
_DUP = 0x08


def connect(client_id: str, *, mqtt_5: bool) -> bytes:
    """CONNECT with a clean session and no keep-alive."""
    head = b"\0\4MQTT" + (b"\5\2\0\0\0" if mqtt_5 else b"\4\2\0\0")
    return _packet(0x10, head + _text(client_id))


def publish(topic: str, packet_id: int, properties: bytes | None, payload: bytes, *, retain: bool = False) -> bytes:
    """PUBLISH at QoS 1; `properties` with their length before them, None in 3.1.1."""
    body = _text(topic) + packet_id.to_bytes(2, "big") + (properties or b"") + payload
    return _packet(0x33 if retain else 0x32, body)


def again(packet: bytes) -> bytes:
    """The same PUBLISH, sent once more."""
    return bytes((packet[0] | _DUP,)) + packet[1:]


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """First byte and body of each whole packet, and what is left; the broker's answers are all short."""
    found = []
    at = 0
    while len(data) - at >= 2 and len(data) - at - 2 >= data[at + 1]:
        end = at + 2 + data[at + 1]
        found.append((data[at], data[at + 2 : end]))
        at = end
    return found, data[at:]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _packet(first: int, body: bytes) -> bytes:
    if len(body) < 128:
        return bytes((first, len(body))) + body
    return bytes((first, len(body) & 127 | 128, len(body) >> 7)) + body
