from collections.abc import Awaitable
from typing import Any

from motetrace.payload import Carrier
from motetrace.tracer import Tracer, _Buffer

class MQTTClient:
    tracer: Tracer | None
    carrier: Carrier | None
    left_alone: int
    mqttv5: bool
    def __init__(
        self, config: dict[str, Any], tracer: Tracer | None = None, carrier: Carrier | None = None
    ) -> None: ...
    async def connect(self, *, quick: bool = False) -> None: ...
    async def disconnect(self) -> None: ...
    def isconnected(self) -> bool: ...
    def publish(
        self,
        topic: str | _Buffer,
        msg: str | _Buffer,
        retain: bool = False,
        qos: int = 0,
        properties: dict[int, Any] | None = None,
    ) -> Awaitable[None]: ...
    async def subscribe(self, topic: str | _Buffer, qos: int = 0, properties: dict[int, Any] | None = None) -> None: ...
