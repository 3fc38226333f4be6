"""What the stand-ins for the clients of umqtt have in common, and those for umqtt.simple and umqtt.robust.

Connected to the broker of this process, they send the packets that the real ones send.
"""

from collections.abc import Callable
from typing import Any

from motetrace.testing import network
from motetrace.testing.clock import ticks

Text = str | bytes | bytearray | memoryview


class MQTTException(Exception):  # noqa: N818 - the real one's name
    """What the real ones raise: 1 and 30 the connection is gone, 28 there is none."""


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def no_callback(*words: Any) -> None:
    """What is called before set_callback()."""


def _rest(sock: network.Socket) -> bytes:
    """What follows the first byte of a packet, without its length."""
    length = shift = 0
    while True:
        byte = (sock.read(1) or b"\x00")[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (sock.read(length) or b"") if length else b""


class Client:
    """What the clients of umqtt have in common."""

    def __init__(self, client_id: Text, server: str, port: int, user: Text | None, keepalive: int, ssl: object) -> None:
        self.client_id = client_id
        self.server = server
        self.port = port or (8883 if ssl else 1883)
        self.user = user
        self.keepalive = keepalive
        self.ssl = ssl
        self.sock: network.Socket | None = None
        self.lw_topic: Text | None = None

    def set_callback(self, f: Callable[..., Any]) -> None:
        """Have f(topic, msg), in simple2 f(topic, msg, retained, dup), called with what comes."""
        self.cb = f

    def set_last_will(self, topic: Text, msg: Text, retain: bool = False, qos: int = 0) -> None:
        """Set the Will that connect() would register."""
        self.lw_topic, self.lw_msg, self.lw_retain, self.lw_qos = topic, msg, retain, qos

    def _open(self, clean_session: bool) -> None:
        sock = network.socket()
        sock.connect((self.server, self.port))
        self.sock = sock
        name = _bytes(self.client_id)
        head = b"\x00\x04MQTT\x04" + bytes((clean_session << 1,)) + self.keepalive.to_bytes(2, "big")
        self._send_packet(0x10, head + len(name).to_bytes(2, "big") + name)
        sock.read(4)

    def _send_packet(self, first: int, body: bytes) -> None:
        if self.sock is None:
            raise MQTTException(28)
        length = bytearray(4)
        self.sock.write(bytes((first,)) + length[: self._varlen_encode(len(body), length)] + body)

    def _varlen_encode(self, value: int, buf: bytearray, offset: int = 0) -> int:
        while value > 127:
            buf[offset] = value & 127 | 128
            value >>= 7
            offset += 1
        buf[offset] = value
        return offset + 1

    def _send_publish(self, topic: Text, msg: Text, flags: int, packet_id: int) -> None:
        name = _bytes(topic)
        number = packet_id.to_bytes(2, "big") if flags & 6 else b""
        self._send_packet(0x30 | flags, len(name).to_bytes(2, "big") + name + number + _bytes(msg))

    def _send_subscribe(self, topic: Text, qos: int, packet_id: int) -> None:
        if getattr(self, "cb", no_callback) is no_callback:
            raise AssertionError("Subscribe callback is not set")
        name = _bytes(topic)
        self._send_packet(0x82, packet_id.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name + bytes((qos,)))

    def _packet(self) -> tuple[int, bytes] | None:
        # The next one that came; None: there is none.
        if self.sock is None:
            raise MQTTException(28)
        first = self.sock.read(1)
        if first is None:
            return None
        if first == b"":
            raise MQTTException(1)
        return first[0], _rest(self.sock)

    def ping(self) -> None:
        """Send a ping."""
        self._send_packet(0xC0, b"")


class Simple(Client):
    """umqtt.simple's MQTTClient; wait_msg() does not wait."""

    def __init__(
        self,
        client_id: Text,
        server: str,
        port: int = 0,
        user: Text | None = None,
        password: Text | None = None,
        keepalive: int = 0,
        ssl: object = None,
        ssl_params: object = None,
    ) -> None:
        super().__init__(client_id, server, port, user, keepalive, ssl)
        self.pid = 0

    def connect(self, clean_session: bool = True) -> int:
        """Connect; there is never a former session."""
        self._open(clean_session)
        return 0

    def disconnect(self) -> None:
        """End the connection."""
        self._send_packet(0xE0, b"")

    def publish(self, topic: Text, msg: Text, retain: bool = False, qos: int = 0) -> None:
        """Publish, at QoS 1 until it is acknowledged."""
        if qos > 1:
            raise AssertionError("QoS 2")
        self.pid += qos
        self._send_publish(topic, msg, qos << 1 | retain, self.pid)
        while qos and self.wait_msg() != 0x40:
            pass
        if qos and self.sock is not None:
            self.sock.read(3)

    def subscribe(self, topic: Text, qos: int = 0) -> None:
        """Subscribe."""
        self.pid += 1
        self._send_subscribe(topic, qos, self.pid)
        while self.wait_msg() != 0x90:
            pass
        if self.sock is not None:
            self.sock.read(4)

    def wait_msg(self) -> int | None:
        """Hand one message to the callback; of another packet return the first byte, its rest unread."""
        if self.sock is None:
            raise OSError(107, "not connected")
        first = self.sock.read(1)
        if first is None:
            return None
        if first == b"":
            raise OSError(-1)
        if first[0] & 0xF0 != 0x30:
            if first == b"\xd0":
                self.sock.read(1)
                return None
            return first[0]
        body = _rest(self.sock)
        end = 2 + int.from_bytes(body[:2], "big")
        self.cb(body[2:end], body[end:])
        return first[0]

    def check_msg(self) -> int | None:
        """Hand one message to the callback."""
        return self.wait_msg()


class Robust(Simple):
    """umqtt.robust's MQTTClient, but that reconnect() gives up at the fifth attempt."""

    DELAY = 2
    DEBUG = False

    def delay(self, i: int) -> None:
        """Let DELAY seconds pass."""
        ticks.step(int(1000 * self.DELAY))

    def log(self, in_reconnect: bool, e: Exception) -> None:
        """Print an error, if DEBUG is set."""
        if self.DEBUG:
            print("mqtt reconnect:" if in_reconnect else "mqtt:", repr(e))

    def reconnect(self) -> int:
        """Connect without a clean session."""
        for attempt in range(1, 5):
            try:
                return self.connect(False)
            except OSError as error:
                self.log(True, error)
                self.delay(attempt)
        return self.connect(False)

    def publish(self, topic: Text, msg: Text, retain: bool = False, qos: int = 0) -> None:
        """Publish, again after each error."""
        while not self._done(super().publish, topic, msg, retain, qos):
            self.reconnect()

    def wait_msg(self) -> int | None:
        """Take in what has come, after an error from a new connection."""
        while not self._done(super().wait_msg):
            self.reconnect()
        return self._answer

    def _done(self, call: Callable[..., int | None], *words: Any) -> bool:
        try:
            self._answer = call(*words)
        except OSError as error:
            self.log(False, error)
            return False
        return True
