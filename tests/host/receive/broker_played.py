"""A broker that the test plays, packet by packet, and a Subscriber connected to it."""

import contextlib
import socket
import struct
import threading
import time
from typing import Any

from motetrace_host.core.mqtt.connection import Broker, Chunk, Receivers, Session, Subscription
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.network.subscriber import Subscriber
from tests.host.receive.driven import RECEIVE
from tests.host.receive.packets import Publish, packet
from tests.waiting import LIMIT_S, until

CONNACK = packet(0x20, b"\x00\x00\x00")
CONNECT, SUBSCRIBE, PUBACK, PUBREC, PUBCOMP, PINGREQ, DISCONNECT = 0x10, 0x82, 0x40, 0x50, 0x70, 0xC0, 0xE0
WATCHED = "$SYS/broker/publish/messages/dropped"


class Link:
    """One connection, seen from the broker."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(LIMIT_S)
        self._unread = b""

    def send(self, *packets: bytes | Publish) -> None:
        self._socket.sendall(b"".join(bytes(one) for one in packets))

    def read(self) -> tuple[int, bytes]:
        """The next packet; raises EOFError at the end. Those of up to 127 bytes only, CONNECT apart."""
        while len(self._unread) < 2 or len(self._unread) < 2 + (self._unread[1] & 127):
            data = self._socket.recv(65_536)
            if not data:
                raise EOFError
            self._unread += data
        first, length = self._unread[0], self._unread[1]
        head = 2
        if length > 127:
            length, head = (length & 127) | self._unread[2] << 7, 3
        body, self._unread = self._unread[head : head + length], self._unread[head + length :]
        return first, body

    def until(self, wanted: int) -> bytes:
        """The body of the next packet of this type; those before it are passed over."""
        while True:
            first, body = self.read()
            if first == wanted:
                return body

    def rest(self) -> list[tuple[int, bytes]]:
        """All packets up to the end of the connection."""
        packets = []
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                packets.append(self.read())
        return packets

    def take_subscription(self, granted: int = 1) -> bytes:
        """Answer the next SUBSCRIBE, one reason for each filter; gives its body."""
        body = self.until(SUBSCRIBE)
        filters, at = 0, 3 + body[2]
        while at < len(body):
            at += 3 + int.from_bytes(body[at : at + 2])
            filters += 1
        self.send(packet(0x90, body[:2] + b"\x00" + bytes([granted]) * filters))
        return body

    def close(self) -> None:
        self._socket.close()


class Played:
    """The broker and the subscriber; what the latter says is kept in lists."""

    def __init__(
        self, reader: str = "bulk", watched: tuple[str, ...] = (), topic_filter: str = "devices/+/telemetry"
    ) -> None:
        self.chunks: list[Chunk] = []
        self.watched: list[PublishPacket] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(LIMIT_S)
        self.subscriber = Subscriber(
            Broker("127.0.0.1", self._server.getsockname()[1]),
            Session("shim", 3_600, 10_000),
            RECEIVE[reader],
            [Subscription(topic_filter)],
            Receivers(
                self.chunks.append,
                lambda published: None,
                lambda event, fields: self.events.append((event, fields)),
                self.watched.append,
            ),
            watched,
        )
        self.subscriber.start()

    def accept(self, connack: bytes = CONNACK, subscribed: bool = True) -> Link:
        """The next connection, up to its subscription."""
        connection, _ = self._server.accept()
        link = Link(connection)
        first, self.connect = link.read()
        assert first == CONNECT
        link.send(connack)
        if subscribed:
            link.take_subscription()
        return link

    def payloads(self, connection: int = 0) -> list[bytes]:
        """Of the messages handed over, from one connection or from all."""
        return [body[-4:] for chunk in self.chunks if connection in (0, chunk.connection) for _, body in chunk.frames]

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]

    def lost(self, times: int = 1) -> str:
        """Why the connection was lost, once it was lost so often."""
        return str(until(lambda: self.told("disconnected")[times - 1 :], "it notices")[0]["reason"])

    def close(self) -> None:
        self.subscriber.stop(0.5)
        self._server.close()


def reading(number: int, qos: int = 1, size: int = 0) -> Publish:
    """Its payload ends in 4 digits."""
    return Publish("devices/s/telemetry", b"." * size + b"%04d" % number, qos=qos, packet_id=number)


def answers(first: int, *packet_ids: int) -> list[tuple[int, bytes]]:
    return [(first, struct.pack(">H", packet_id)) for packet_id in packet_ids]


def flood(link: Link, stop: threading.Event, every_s: float) -> None:
    """Send 39 messages of QoS 0 every so often, and nothing else, until told to stop."""
    while not stop.is_set():
        link.send(*(reading(number, qos=0) for number in range(1, 40)))
        time.sleep(every_s)
