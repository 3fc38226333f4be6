"""A broker that says exactly what a test tells it, byte by byte, and never anything else."""

import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

LIMIT_S = 60.0
CONNACK_MQTT5 = bytes.fromhex("20 03 00 00 00")
CONNACK_MQTT311 = bytes.fromhex("20 02 00 00")


@dataclass(frozen=True, slots=True)
class Packet:
    """First byte of the fixed header, and everything after the remaining length."""

    first: int
    body: bytes


class FakeBroker:
    """Listens on a free port of 127.0.0.1 for one device at a time.

    Args:
        receive_bytes: size of the socket's receive buffer; small, and left unread, it makes a writer wait.
    """

    host = "127.0.0.1"

    def __init__(self, receive_bytes: int | None = None) -> None:
        self._listener = socket.socket()
        if receive_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._listener.bind((self.host, 0))
        self._listener.listen()
        self._listener.settimeout(LIMIT_S)
        self.port: int = self._listener.getsockname()[1]
        self._device: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self._listener.close()

    def accept(self) -> None:
        """Take the next device, in place of the one before."""
        self.hang_up()
        self._device, _ = self._listener.accept()
        self._device.settimeout(LIMIT_S)
        self._device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def welcome(self, connack: bytes = CONNACK_MQTT5) -> Packet:
        """Take the next device, read its CONNECT and answer it; return the CONNECT."""
        self.accept()
        packet = self.read()
        assert packet.first == 0x10
        self.say(connack)
        return packet

    def say(self, data: bytes) -> None:
        """Send these bytes."""
        assert self._device is not None
        self._device.sendall(data)

    def read(self) -> Packet:
        """The next packet.

        Raises:
            EOFError: the device closed the connection.
        """
        first = self.take(1)[0]
        length = shift = 0
        while True:
            byte = self.take(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return Packet(first, self.take(length))

    def take(self, count: int) -> bytes:
        """The next `count` bytes as they come."""
        assert self._device is not None
        data = bytearray()
        while len(data) < count:
            some = self._device.recv(min(count - len(data), 1 << 16))
            if not some:
                raise EOFError("the device closed the connection")
            data += some
        return bytes(data)

    def hang_up(self) -> None:
        """Close the connection to the device."""
        if self._device is not None:
            self._device.close()
            self._device = None
