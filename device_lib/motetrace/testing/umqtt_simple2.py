"""Stand-ins for the MQTTClient of umqtt.simple2 and umqtt.robust2: their documented interfaces."""

from collections.abc import Callable, Iterator
from typing import Any

from motetrace.testing import network
from motetrace.testing.clock import ticks
from motetrace.testing.umqtt_simple import Client, MQTTException, Text, no_callback


def _packet_ids() -> Iterator[int]:
    while True:
        yield from range(1, 65536)


class Simple2(Client):
    """umqtt.simple2's MQTTClient."""

    def __init__(
        self,
        client_id: Text,
        server: str,
        port: int = 0,
        user: Text | None = None,
        password: Text | None = None,
        *others: Any,
        **options: Any,
    ) -> None:
        names = ("keepalive", "ssl", "ssl_params", "socket_timeout", "message_timeout")
        given = {**dict(zip(names, others, strict=False)), **options}
        if unknown := given.keys() - set(names):
            raise TypeError(f"MQTTClient() got an unexpected keyword argument {min(unknown)!r}")
        super().__init__(client_id, server, port, user, given.get("keepalive", 0), given.get("ssl", False))
        self.pswd = password
        self.ssl_params = given.get("ssl_params") or {}
        self.socket_timeout = given.get("socket_timeout", 5)
        self.message_timeout = given.get("message_timeout", 10)
        self.newpid = _packet_ids()
        self.rcv_pids: dict[int, int] = {}
        self.poller_r = self.poller_w = network.poll()
        self.last_cpacket = 0
        self.cb: Callable[..., Any] = getattr(self, "cb", no_callback)
        if not hasattr(self, "cbstat"):
            self.set_callback_status(lambda pid, status: None)

    def set_callback_status(self, f: Callable[[int, int], Any]) -> None:
        """Have f(packet id, status) called: 1 acknowledged, 0 given up, 2 unknown."""
        self.cbstat = f

    def _read(self, n: int) -> bytes:
        if self.sock is None:
            raise MQTTException(8)
        data = b""
        while len(data) < n:
            part = self.sock.read(n - len(data))
            if part is None:
                raise MQTTException(30)
            if part == b"":
                raise MQTTException(1)
            data += part
        return data

    def _sock_timeout(self, poller: network.Poll, socket_timeout: float | None) -> None:
        if self.sock is None:
            raise MQTTException(28)

    def connect(self, clean_session: bool = True) -> int:
        """Connect; there is never a former session."""
        self.disconnect()
        if clean_session:
            self.rcv_pids.clear()
        self._open(clean_session)
        self.last_cpacket = ticks.ticks_ms()
        return 0

    def disconnect(self) -> None:
        """End the connection."""
        if self.sock is None:
            return
        try:
            self.sock.write(b"\xe0\x00")
        except OSError:
            pass
        self.sock.close()
        self.sock = None

    def publish(self, topic: Text, msg: Text, retain: bool = False, qos: int = 0, dup: bool = False) -> int | None:
        """Publish; at QoS 1 return the packet id, whose status comes to the status callback."""
        pid = next(self.newpid) if qos else 0
        self._send_publish(topic, msg, dup << 3 | qos << 1 | retain, pid)
        return self._waits(pid) if qos else None

    def subscribe(self, topic: Text, qos: int = 0) -> int:
        """Subscribe; return the packet id, whose status comes to the status callback."""
        pid = next(self.newpid)
        self._send_subscribe(topic, qos, pid)
        return self._waits(pid)

    def _waits(self, pid: int) -> int:
        self.rcv_pids[pid] = ticks.ticks_add(ticks.ticks_ms(), self.message_timeout * 1000)
        return pid

    def check_msg(self) -> int | None:
        """Take in one packet that came."""
        packet = self._packet()
        for pid in [pid for pid, end in self.rcv_pids.items() if ticks.ticks_diff(end, ticks.ticks_ms()) <= 0]:
            if packet is None:
                del self.rcv_pids[pid]
                self._status(pid, 0)
        if packet is None:
            return None
        self.last_cpacket = ticks.ticks_ms()
        first, body = packet
        if first in (0x40, 0x90):
            pid = int.from_bytes(body[:2], "big")
            self._status(pid, 2 if self.rcv_pids.pop(pid, None) is None else 1)
        if first & 0xF0 != 0x30:
            return first if first != 0xD0 else None
        end = 2 + int.from_bytes(body[:2], "big")
        self.cb(body[2:end], body[end:], bool(first & 1), bool(first & 8))
        return None

    def _status(self, pid: int, status: int) -> None:
        self.cbstat(pid, status)

    def wait_msg(self) -> int | None:
        """Take in one packet that came, without waiting for it."""
        return self.check_msg()


class Robust2(Simple2):
    """umqtt.robust2's MQTTClient: nothing raises; what is not sent, or not acknowledged, waits for send_queue()."""

    MSG_QUEUE_MAX = 5

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.msg_to_send: list[tuple[Any, ...]] = []
        self.msg_to_confirm: dict[int, tuple[Any, ...]] = {}
        self.subs: list[tuple[Text, int]] = []
        self.conn_issue: tuple[Exception, int] | None = None

    def connect(self, clean_session: bool = True) -> int | None:  # type: ignore[override]
        """Connect, or have is_conn_issue() say why not; a clean session forgets what waits."""
        if clean_session:
            self.msg_to_send.clear()
            self.msg_to_confirm.clear()
        answer: int | None = self._attempt(1, super().connect, clean_session)
        return answer

    def reconnect(self) -> int | None:
        """Connect without forgetting what waits."""
        return self.connect(False)

    def resubscribe(self) -> None:
        """Subscribe to all topics once more."""
        for topic, qos in self.subs:
            self._attempt(3, super().subscribe, topic, qos)

    def publish(self, topic: Text, msg: Text, retain: bool = False, qos: int = 0) -> int | None:  # type: ignore[override]
        """Publish now, or with the next send_queue() that succeeds."""
        message = (topic, msg, retain, qos)
        hash(message)  # as the real one, which keeps it as a key of a dict
        pid: int | None = self._attempt(2, super().publish, *message)
        if pid is not None:
            self.msg_to_confirm[pid] = message
        elif self.conn_issue and message not in self.msg_to_send:
            del self.msg_to_send[: max(0, len(self.msg_to_send) - self.MSG_QUEUE_MAX + 1)]
            self.msg_to_send.append(message)
        return pid

    def subscribe(self, topic: Text, qos: int = 0, resubscribe: bool = True) -> int | None:  # type: ignore[override]
        """Subscribe; resubscribe: also at resubscribe()."""
        if resubscribe and topic not in dict(self.subs):
            self.subs.append((topic, qos))
        pid: int | None = self._attempt(3, super().subscribe, topic, qos)
        return pid

    def is_conn_issue(self) -> bool:
        """Whether the last use of the connection failed; conn_issue[0] is the exception."""
        return self.conn_issue is not None

    def things_to_do(self) -> int:
        """How many messages wait to be sent or acknowledged."""
        return len(self.msg_to_send) + len(self.rcv_pids)

    def send_queue(self) -> bool:
        """Send what waits; return whether all of it went out."""
        while self.msg_to_send:
            pid = self._attempt(5, super().publish, *self.msg_to_send[0])
            if self.conn_issue:
                return False
            message = self.msg_to_send.pop(0)
            if pid is not None:
                self.msg_to_confirm[pid] = message
        return True

    def check_msg(self) -> int | None:
        """Take in one packet that came."""
        answer: int | None = self._attempt(10, super().check_msg)
        return answer

    def _status(self, pid: int, status: int) -> None:
        super()._status(pid, status)
        message = self.msg_to_confirm.pop(pid, None)
        if message is not None and status == 0:
            self.msg_to_send.insert(0, message)

    def _attempt(self, where: int, call: Callable[..., Any], *words: Any) -> Any:
        try:
            answer = call(*words)
        except (OSError, MQTTException) as error:
            self.conn_issue = error, where
            return None
        if where == 1:
            self.conn_issue = None
        return answer
