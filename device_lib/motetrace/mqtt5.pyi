from collections.abc import Callable
from typing import Any

from motetrace.publish import Publish
from motetrace.tracer import _Buffer, _Contexts

class UserProperty(Publish):
    def __init__(self, client: Any, tracer: _Contexts | None, expiry: int = 0) -> None: ...
    def bare(self, b: bytearray, at: int) -> int: ...
    def close(self, b: bytearray, end: int) -> int: ...

class MQTTClient:
    client_id: str | _Buffer
    server: str
    port: int
    keepalive: int
    session_expiry: int
    user_properties: list[tuple[bytes, bytes]]
    traceparent: bytes | None
    rcv_pids: dict[int, int]
    plain: Callable[..., int | None]  # Publish.plain of the client's own packets
    def __init__(
        self,
        client_id: str | _Buffer,
        server: str,
        port: int = 0,
        user: str | _Buffer | None = None,
        password: str | _Buffer | None = None,
        keepalive: int = 0,
        ssl: bool = False,
        ssl_params: dict[str, Any] | None = None,
        socket_timeout: float | None = 5,
        message_timeout: int = 10,
        *,
        tracer: _Contexts | None = None,
        expiry: int = 0,
        session_expiry: int = 0,
    ) -> None: ...
    def set_callback(self, f: Callable[[bytes, bytes, bool, bool], Any]) -> None: ...
    def set_callback_status(self, f: Callable[[int, int], Any]) -> None: ...
    def set_last_will(self, topic: str | _Buffer, msg: str | _Buffer, retain: bool = False, qos: int = 0) -> None: ...
    def connect(self, clean_session: bool = True) -> int: ...
    def disconnect(self) -> None: ...
    def ping(self) -> None: ...
    def publish(
        self, topic: str | _Buffer, msg: str | _Buffer, retain: bool = False, qos: int = 0, dup: bool = False
    ) -> int | None: ...
    def subscribe(self, topic: str | _Buffer, qos: int = 0) -> int: ...
    def check_msg(self) -> int | None: ...
    def wait_msg(self) -> int | None: ...
