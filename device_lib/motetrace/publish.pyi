from typing import Any

from motetrace.tracer import _Buffer, _Contexts

def send(client: Any, buf: _Buffer, at: int, n: int) -> None: ...

class Publish:
    client: Any
    tracer: _Contexts | None
    lead: bytes
    flags: int
    size: int
    def __init__(self, client: Any, tracer: _Contexts | None, lead: bytes) -> None: ...
    def publish(
        self, topic: str | _Buffer, msg: str | _Buffer, retain: bool = False, qos: int = 0, dup: bool = False
    ) -> int | None: ...
    def plain(self, topic: str | _Buffer, msg: str | _Buffer, retain: bool = False, qos: int = 0) -> int | None: ...
    def __call__(self, topic: str | _Buffer, msg: str | _Buffer, skip: int) -> int | None: ...
