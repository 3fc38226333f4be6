"""The `socket` and `select` of MicroPython's MQTT clients: bytes that go to the broker of this process."""

from collections.abc import Callable
from typing import Any

from motetrace.testing.mqtt_broker import Mailbox, Published, broker

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
# What stands behind each property's identifier in a PUBLISH: bytes, or 0 for a length in two bytes first.
_WIDTHS = {0x01: 1, 0x02: 4, 0x03: 0, 0x08: 0, 0x09: 0, 0x23: 2}


class Poll:
    """select.poll() of a socket that always takes what is written, and has everything to read that will ever come."""

    def register(self, sock: "Socket", events: int) -> None:
        """Watch this socket."""
        self._found = [(sock, events & ~(POLLERR | POLLHUP))]

    def unregister(self, sock: "Socket") -> None:
        """Watch nothing."""
        self._found = []

    def poll(self, timeout_ms: int = -1) -> list[tuple["Socket", int]]:
        """The socket, as ready."""
        return self._found


class Socket:
    """One connection, as MicroPython's sockets are: write() of a part of a buffer, read() that returns None."""

    def __init__(self) -> None:
        self._mailbox: Mailbox | None = None
        self._sent = bytearray()
        self._answers = bytearray()
        self._version = 4

    def setblocking(self, flag: bool) -> None:
        """Nothing blocks here."""

    def connect(self, address: object) -> None:
        """Reach the broker, whatever the address."""
        self._mailbox = broker.connect()

    def close(self) -> None:
        """End the connection."""
        if self._mailbox is not None:
            broker.disconnect(self._mailbox)

    def write(self, data: Any, at: int = 0, n: int = -1) -> int:
        """Send n bytes of data from `at` (-1: all of them); return how many those are."""
        part = bytes(memoryview(data)[at : len(data) if n < 0 else at + n])
        broker.check(self._connected())
        self._sent += part
        while (packet := _first_packet(self._sent)) is not None:
            first, body, end = packet
            del self._sent[:end]
            self._take(first, body)
        return len(part)

    def read(self, n: int = -1) -> bytes | None:
        """Up to n bytes; None: nothing has come; b"": the connection is gone."""
        mailbox = self._connected()
        try:
            broker.check(mailbox)
        except ConnectionResetError:
            return b""
        if not self._answers and mailbox.waiting:
            self._answers += self._delivery(mailbox.waiting.popleft())
        if not self._answers:
            return None
        part = bytes(self._answers[: n if n >= 0 else None])
        del self._answers[: len(part)]
        return part

    def _connected(self) -> Mailbox:
        if self._mailbox is None:
            raise OSError(107, "not connected")
        return self._mailbox

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == 1:  # CONNECT
            self._version = body[6]
            self._answers += b"\x20\x03\x00\x00\x00" if self._version == 5 else b"\x20\x02\x00\x00"
        elif kind == 3:
            message, packet_id = _published(first, body, self._version)
            broker.published.append(message)
            if message.qos:
                self._answers += b"\x40\x02" + packet_id
        elif kind == 8:  # SUBSCRIBE, of one topic filter
            rest = body[3:] if self._version == 5 else body[2:]
            self._connected().filters.add(_text(rest, 0)[0])
            properties = b"\x00" if self._version == 5 else b""
            self._answers += bytes((0x90, 3 + len(properties))) + body[:2] + properties + rest[-1:]
        elif kind == 12:  # PINGREQ
            self._answers += b"\xd0\x00"
        elif kind == 14:  # DISCONNECT
            self.close()

    def _delivery(self, message: Published) -> bytes:
        body = _packed(message.topic)
        if self._version == 5:
            pairs = b"".join(b"\x26" + _packed(name) + _packed(value) for name, value in message.user_properties)
            body += _varint(len(pairs)) + pairs
        body += message.payload
        return bytes((0x30 | message.retain,)) + _varint(len(body)) + body


def socket(*family_and_type: int) -> Socket:
    """A socket."""
    return Socket()


def getaddrinfo(host: object, port: object) -> list[tuple[int, int, int, str, tuple[object, object]]]:
    """The address itself."""
    return [(2, 1, 0, "", (host, port))]


poll: Callable[[], Poll] = Poll


def _first_packet(data: bytearray) -> tuple[int, bytes, int] | None:
    """First byte, body and end of the packet that data begins with; None: it is not complete."""
    length = shift = 0
    at = 1
    while at < len(data):
        length |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            end = at + length
            return (data[0], bytes(data[at:end]), end) if end <= len(data) else None
    return None


def _published(first: int, body: bytes, version: int) -> tuple[Published, bytes]:
    topic, at = _text(body, 0)
    qos = first >> 1 & 3
    packet_id = body[at : at + 2] if qos else b""
    at += len(packet_id)
    pairs: list[tuple[str, str]] = []
    expiry_s = None
    if version == 5:
        end = at + 1 + body[at]  # a device's properties are far below 128 bytes
        at += 1
        while at < end:
            kind = body[at]
            at += 1
            if kind == 0x26:
                name, at = _text(body, at)
                value, at = _text(body, at)
                pairs.append((name, value))
                continue
            if kind == 0x02:
                expiry_s = int.from_bytes(body[at : at + 4], "big")
            at += _WIDTHS[kind] or 2 + int.from_bytes(body[at : at + 2], "big")
    message = Published(topic, body[at:], pairs, qos, bool(first & 1), bool(first & 8), expiry_s)
    return message, packet_id


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : end].decode(), end


def _packed(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)
