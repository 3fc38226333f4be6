"""A stand-in for mqtt_as: its documented `config` and MQTTClient, connected to the broker of this process."""

import asyncio
from typing import Any

from motetrace.testing import mqtt_broker
from motetrace.testing.mqtt_broker import Mailbox, Published

CONFIG: dict[str, Any] = {
    "client_id": b"device", "server": None, "port": 0, "user": "", "password": "", "keepalive": 60,
    "ping_interval": 0, "ssl": False, "ssl_params": {}, "response_time": 10, "clean_init": True, "clean": True,
    "max_repubs": 4, "will": None, "subs_cb": lambda *_: None, "wifi_coro": None, "connect_coro": None, "ssid": None,
    "wifi_pw": None, "queue_len": 0, "gateway": False, "mqttv5": False, "mqttv5_con_props": None,
}  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode()


class MQTTClient:
    """mqtt_as's MQTTClient: publish() waits until the broker is reachable; only callbacks, no event interface."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self.mqttv5 = config["mqttv5"]
        self.server = config["server"]
        self._mailbox: Mailbox | None = None

    async def connect(self, *, quick: bool = False) -> None:
        """Connect, and begin to hand messages to `subs_cb`."""
        self._mailbox = mqtt_broker.broker.connect()
        self._receiving = asyncio.get_running_loop().create_task(self._receive())

    def isconnected(self) -> bool:
        """Whether the broker is reachable."""
        return self._mailbox is not None and mqtt_broker.broker.reachable

    async def disconnect(self) -> None:
        """End the connection."""
        if self._mailbox is not None:
            mqtt_broker.broker.disconnect(self._mailbox)
            self._mailbox = None
            self._receiving.cancel()

    async def publish(
        self, topic: Any, msg: Any, retain: bool = False, qos: int = 0, properties: dict[int, Any] | None = None
    ) -> None:
        """Publish once the broker is reachable; of user properties, 0x26, the first pair, as the real one does."""
        if qos not in (0, 1):
            raise ValueError("Only qos 0 and 1 are supported.")
        await self._until_connected()
        found = properties or {} if self.mqttv5 else {}
        pairs = [(str(name), str(value)) for name, value in found.get(0x26, {}).items()][:1]
        payload = msg.encode() if isinstance(msg, str) else bytes(msg)
        message = Published(_text(topic), payload, pairs, qos, bool(retain), False, found.get(0x02))
        mqtt_broker.broker.published.append(message)
        await asyncio.sleep(0)

    async def subscribe(self, topic: Any, qos: int = 0, properties: dict[int, Any] | None = None) -> None:
        """Subscribe."""
        (await self._until_connected()).filters.add(_text(topic))

    async def _until_connected(self) -> Mailbox:
        while self._mailbox is None or not self.isconnected():  # noqa: ASYNC110 - a test sets `reachable`: no event
            await asyncio.sleep(0)
        return self._mailbox

    async def _receive(self) -> None:
        while self._mailbox is not None:
            while self._mailbox.waiting:
                message = self._mailbox.waiting.popleft()
                words: list[Any] = [message.topic.encode(), message.payload, message.retain]
                if self.mqttv5:
                    pairs = message.user_properties
                    words.append({0x26: dict(pairs)} if pairs else None)
                self._config["subs_cb"](*words)
            await asyncio.sleep(0)
