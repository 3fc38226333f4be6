"""A broker that lets everything through, as MQTT allows: control characters in topics, for one (mosquitto does not)."""

import socket
import threading
from collections.abc import Sequence

from motetrace_host.core.mqtt import framing
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.core.spans.protobuf import varint

_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE, _PINGREQ, _DISCONNECT = 1, 3, 4, 8, 12, 14
_CONNACK = b"\x20\x03\x00\x00\x00"


class LenientBroker:
    """Takes one client, and sends it the frames it was given once that has subscribed to all it wants.

    Args:
        frames: PUBLISH packets, those of QoS 1 with packet ids of their own.
        subscriptions: how many to wait for.
    """

    def __init__(self, frames: Sequence[Frame], subscriptions: int = 2) -> None:
        self._frames = frames
        self._subscriptions = subscriptions
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.acknowledged: list[int] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; the client is gone by then."""
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        stream = framing.Stream()
        with connection:
            while data := connection.recv(65_536):
                for first, body in stream.feed(data):
                    if answer := self._answer(first, body):
                        connection.sendall(answer)

    def _answer(self, first: int, body: bytes) -> bytes:
        kind = first >> 4
        if kind == _CONNECT:
            return _CONNACK
        if kind == _SUBSCRIBE:
            self._subscriptions -= 1
            frames = b"" if self._subscriptions else b"".join(map(_packed, self._frames))
            return b"\x90\x04" + body[:2] + b"\x00\x01" + frames
        if kind == _PUBLISH and first & 6:
            topic_end = 2 + int.from_bytes(body[:2], "big")
            return b"\x40\x02" + body[topic_end : topic_end + 2]
        if kind == _PUBACK:
            self.acknowledged.append(int.from_bytes(body[:2], "big"))
        return b"\xd0\x00" if kind == _PINGREQ else b""


def _packed(frame: Frame) -> bytes:
    first, body = frame
    return bytes((first,)) + varint(len(body)) + body
