"""A client of either reader on a socket that gives out prepared pieces, without a broker and without a thread."""

import collections
import functools
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, _ConnectionState

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.network import bulk_reader, paho_reader

RECEIVE: dict[str, Any] = {
    "bulk": functools.partial(bulk_reader.receive, pause=lambda seconds: None),
    "paho": paho_reader.receive,
}


class Pieces:
    """A socket: each piece is one readiness, after the last there is nothing to read; keeps what is sent."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = collections.deque(piece for piece in pieces if piece)
        self._pause = False
        self.sent = b""

    def __bool__(self) -> bool:
        return True

    def recv(self, size: int) -> bytes:
        if self._pause or not self._pieces:
            self._pause = False
            raise BlockingIOError
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
        else:
            self._pause = True
        return piece[:size]

    @property
    def left(self) -> int:
        return len(self._pieces)

    def send(self, data: bytes) -> int:
        self.sent += bytes(data)
        return len(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._pieces.clear()


class Driven:
    """What a client did with a stream.

    Attributes:
        subscribed, published: what its callbacks heard.
        broken: why it stopped reading, "" when it took everything.
        sent: packets it wrote, of 4 bytes each.
    """

    def __init__(self, client: paho.Client) -> None:
        self.client = client
        self.subscribed: list[tuple[int, list[int]]] = []
        self.published: list[tuple[int, int]] = []
        self.broken = ""
        self.sent: list[bytes] = []
        client.on_subscribe = lambda _, __, mid, reasons, ___: self.subscribed.append((mid, [r.value for r in reasons]))
        client.on_publish = lambda _, __, mid, reason, ___: self.published.append((mid, reason.value))
        client.on_socket_register_write = lambda *_: None

    def read(self, pieces: Iterable[bytes], then: Callable[[], None] = lambda: None) -> "Driven":
        """Let it read everything, do something, and let it write."""
        socket = Pieces(pieces)
        self.client._sock = socket
        self.client._state = _ConnectionState.MQTT_CS_CONNECTED
        for _ in range(3):  # packet ids 1 to 3 wait for a PUBACK
            self.client.publish("out", b"x", qos=1)
        self._write()
        socket.sent = b""
        try:
            while socket.left and not self.broken:
                code = self.client.loop_read()
                if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self.client.socket() is None:
                    self.broken = str(code)
        except WireError as error:
            self.broken = error.reason
        except Exception as error:  # noqa: BLE001 (paho 2.1 lets them through)
            assert type(self.client) is paho.Client, error
            self.broken = repr(error)
        then()
        self._write()
        self.sent = [socket.sent[at : at + 4] for at in range(0, len(socket.sent), 4)]
        return self

    def _write(self) -> None:
        while self.client.socket() is not None and self.client.want_write():
            self.client.loop_write()


def ours(reader: str, pieces: Iterable[bytes]) -> tuple[list[Frame], Driven]:
    """What one of our readers hands over, everything acknowledged afterwards."""
    frames: list[Frame] = []
    client, acknowledge = RECEIVE[reader]("ours", lambda some, _: frames.extend(some))

    def answer() -> None:
        ids = [int.from_bytes(body[at : at + 2]) for first, body in frames if first & 6
               for at in [2 + int.from_bytes(body[:2])]]  # fmt: skip
        if ids:
            acknowledge(ids)

    return frames, Driven(client).read(pieces, answer)


def pahos(pieces: Iterable[bytes]) -> tuple[list[paho.MQTTMessage], Driven]:
    """What paho's own reader hands to on_message, everything acknowledged afterwards."""
    messages: list[paho.MQTTMessage] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="paho", protocol=paho.MQTTv5, manual_ack=True)
    client.on_message = lambda _, __, message: messages.append(message)
    driven = Driven(client)
    return messages, driven.read(pieces, lambda: [client.ack(one.mid, one.qos) for one in messages])
