"""What other programs see of a device's messages: a paho MQTT 5 client that keeps everything as it came."""

import queue
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message; topic as the bytes of the packet."""

    topic: bytes
    payload: bytes
    user_properties: list[tuple[str, str]]
    qos: int
    retain: bool
    expiry_s: int | None


class Subscriber:
    """Subscribed to `topic` from the moment the with block begins."""

    def __init__(self, host: str, port: int, topic: str = "#") -> None:
        self._arrived: queue.Queue[Arrived] = queue.Queue()
        self._subscribed: queue.Queue[list[Any]] = queue.Queue()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *words: self._subscribed.put(words[3])
        self._address = host, port
        self._topic = topic

    def __enter__(self) -> Self:
        self._client.connect(*self._address)
        self._client.loop_start()
        self._client.subscribe(self._topic, 1)
        assert not self._subscribed.get(timeout=LIMIT_S)[0].is_failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def take(self, count: int) -> list[Arrived]:
        """The next `count` messages in order of arrival."""
        return [self._arrived.get(timeout=LIMIT_S) for _ in range(count)]

    def publish(self, topic: str, payload: bytes, pairs: list[tuple[str, str]], **others: Any) -> None:
        """Publish at QoS 1 with user properties, and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)
        if pairs:
            properties.UserProperty = pairs
        for name, value in others.items():
            setattr(properties, name, value)
        self._client.publish(topic, payload, qos=1, properties=properties).wait_for_publish(LIMIT_S)

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        properties = message.properties
        self._arrived.put(
            Arrived(
                bytes(message._topic),
                message.payload,
                list(getattr(properties, "UserProperty", [])),
                message.qos,
                bool(message.retain),
                getattr(properties, "MessageExpiryInterval", None),
            )
        )
