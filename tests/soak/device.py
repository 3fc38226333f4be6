"""One device: publishes at QoS 1, keeps what is not acknowledged, sends it again with DUP after each reconnect."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from typing import NamedTuple

from tests.soak import carriage, packets
from tests.soak.boot import Boot

PATIENCE_S = 10.0  # without any answer it gives the connection up
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the connection ends in RST, as behind a router that forgot it
_BIRTH = 0


class Unanswered(NamedTuple):
    """A PUBLISH that waits for its PUBACK; seq 0 is the birth message."""

    seq: int
    packet: bytes


class Device:
    """A device and its connection; driven by `Fleet`, never blocks.

    Args:
        window: how many messages it has on the way at most: 1 as umqtt, up to 20 as greater clients.
    Attributes:
        boots: its power-ups, the present one last.
        complaints: what a broker must not answer.
    """

    def __init__(self, device_id: str, kind: str, window: int, chance: random.Random) -> None:
        self.device_id = device_id
        self.kind = kind
        self.boots = [Boot(device_id, kind, chance)]
        self.complaints: list[str] = []
        self.socket: socket.socket | None = None
        self.connect_at = 0.0
        self.due_at = 0.0
        self.republished = 0
        self._window = window
        self._chance = chance
        self._connected = False
        self._heard_at = 0.0
        self._packet_id = 0
        self._unanswered: dict[int, Unanswered] = {}
        self._out = b""
        self._in = b""
        self._announce()

    @property
    def boot(self) -> Boot:
        """The present power-up."""
        return self.boots[-1]

    @property
    def waiting(self) -> int:
        """Messages on the way."""
        return len(self._unanswered)

    @property
    def wants_to_write(self) -> bool:
        """There are bytes that the network did not take yet."""
        return bool(self._out)

    def connect(self, port: int, now: float) -> socket.socket:
        """Begin a connection."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", port))
        self._connected, self._heard_at, self._in = False, now, b""
        self._out = packets.connect(self.device_id, mqtt_5=self.kind in carriage.MQTT_5)
        return self.socket

    def lose(self, now: float, *, reset: bool = False) -> None:
        """Give the connection up, and try again a little later."""
        if self.socket is not None:
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.socket.close()
        self.socket, self._connected, self._out = None, False, b""
        self.connect_at = now + self._chance.uniform(0.05, 0.4)

    def reboot(self, now: float) -> None:
        """Lose power: what was on the way is forgotten, numbers begin again under a new nonce."""
        self.lose(now, reset=self._chance.random() < 0.5)
        self._unanswered.clear()
        self.boots.append(Boot(self.device_id, self.kind, self._chance))
        self._announce()

    def publish(self) -> bool:
        """Send the next message; False when it may not yet."""
        if not self._connected or len(self._unanswered) >= self._window:
            return False
        boot = self.boot
        topic, properties, payload = carriage.message(boot, boot.sent + 1)
        self._send(boot.next(), topic, properties, payload)
        return True

    def blurt(self) -> None:
        """Send as much as the window allows, at once: some of it arrives, and power goes before any answer does."""
        while self.publish():
            pass
        with contextlib.suppress(OSError):
            self.write()

    def impatient(self, now: float) -> bool:
        """It waits for an answer, and in vain."""
        waits = not self._connected or bool(self._unanswered)
        return self.socket is not None and waits and now - self._heard_at > PATIENCE_S

    def write(self) -> None:
        """Give the network what it takes. Raises OSError."""
        if self._out and self.socket is not None:
            with contextlib.suppress(BlockingIOError):
                self._out = self._out[self.socket.send(self._out) :]

    def read(self, now: float, second: float) -> None:
        """Take what came; `second` is that of the soak. Raises OSError, also when the other side is gone."""
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("closed")
        self._heard_at = now
        found, self._in = packets.split(self._in + data)
        for first, body in found:
            if first == packets.PUBACK:
                self._acknowledged(body, second)
            elif first == packets.CONNACK:
                self._accepted(body)
            else:
                self.complaints.append(f"{self.device_id}: the broker sent packet {first:02x} {body.hex()}")

    def _acknowledged(self, body: bytes, second: float) -> None:
        found = self._unanswered.pop(int.from_bytes(body[:2], "big"), None)
        if len(body) > 2 and body[2]:
            # 10 hex: nobody subscribes, which says that the broker forgot the shim's session.
            self.complaints.append(f"{self.device_id}: PUBACK says {body[2]:02x} at {second:.1f} s")
        elif found is not None and found.seq != _BIRTH:
            self.boot.acknowledged(found.seq, second)

    def _accepted(self, body: bytes) -> None:
        if body[1]:
            self.complaints.append(f"{self.device_id}: CONNACK says {body[1]:02x}")
            raise ConnectionError("refused")
        self._connected = True
        for seq, packet in self._unanswered.values():
            self._out += packets.again(packet)
            self.republished += seq != _BIRTH

    def _announce(self) -> None:
        if self.kind != carriage.BARE:
            topic, payload = carriage.birth(self.boot)
            self._send(_BIRTH, topic, b"\0" if self.kind in carriage.MQTT_5 else None, payload, retain=True)
            self._out = b""  # goes out with the next connection, as everything unanswered

    def _send(self, seq: int, topic: str, properties: bytes | None, payload: bytes, *, retain: bool = False) -> None:
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self._unanswered:
                break
        packet = packets.publish(topic, self._packet_id, properties, payload, retain=retain)
        self._unanswered[self._packet_id] = Unanswered(seq, packet)
        self._out += packet
