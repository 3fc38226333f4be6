"""A stand-in for adafruit_minimqtt's MQTT: its documented interface, connected to the broker of this process."""

from collections.abc import Callable
from typing import Any

from motetrace.testing import mqtt_broker
from motetrace.testing.mqtt_broker import Mailbox, Published


class MMQTTException(Exception):  # noqa: N818 - the real one's name
    """What the real one raises when there is no connection."""


class MQTT:
    """adafruit_minimqtt's MQTT; loop() delivers what has come and does not wait."""

    def __init__(self, *, broker: str, port: int | None = None, use_binary_mode: bool = False, **options: Any) -> None:
        self.broker = broker
        self.port = port
        self.on_message: Callable[[Any, str, Any], Any] | None = None
        self.on_connect: Callable[..., Any] | None = None
        self._binary = use_binary_mode
        self._user_data = options.get("user_data")
        self._topic_callbacks: dict[str, Callable[[Any, str, Any], Any]] = {}
        self._mailbox: Mailbox | None = None

    def connect(self, clean_session: bool = True, host: str | None = None, port: int | None = None) -> int:
        """Connect."""
        try:
            self._mailbox = mqtt_broker.broker.connect()
        except OSError as error:
            raise MMQTTException("Repeated connect failures") from error
        if self.on_connect is not None:
            self.on_connect(self, self._user_data, 0, 0)
        return 0

    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._mailbox is not None

    def disconnect(self) -> None:
        """End the connection."""
        mqtt_broker.broker.disconnect(self._connected())
        self._mailbox = None

    def reconnect(self, resub_topics: bool = True) -> int:
        """Connect anew, and subscribe to the same topics."""
        filters = self._mailbox.filters if self._mailbox is not None and resub_topics else set()
        answer = self.connect()
        self._connected().filters |= filters
        return answer

    def publish(self, topic: str, msg: str | int | float | bytes, retain: bool = False, qos: int = 0) -> None:
        """Publish."""
        mailbox = self._connected()
        if not topic or "+" in topic or "#" in topic:
            raise MMQTTException("Invalid topic")
        if isinstance(msg, str | int | float):
            msg = str(msg).encode()
        elif not isinstance(msg, bytes):
            raise MMQTTException("Invalid message data type.")
        mqtt_broker.broker.check(mailbox)
        mqtt_broker.broker.published.append(Published(topic, msg, [], qos, retain))

    def subscribe(self, topic: str | tuple[str, int] | list[tuple[str, int]], qos: int = 0) -> None:
        """Subscribe to one topic or several."""
        wanted = [(topic, qos)] if isinstance(topic, str) else [topic] if isinstance(topic, tuple) else topic
        self._connected().filters |= {name for name, _ in wanted}

    def add_topic_callback(self, mqtt_topic: str, callback_method: Callable[[Any, str, Any], Any]) -> None:
        """Have messages of this topic handed to a callback of their own."""
        self._topic_callbacks[mqtt_topic] = callback_method

    def ping(self) -> list[int]:
        """Check that there is a connection."""
        mqtt_broker.broker.check(self._connected())
        return []

    def loop(self, timeout: float = 1.0) -> list[int] | None:
        """Hand what has come to the callbacks."""
        mailbox = self._connected()
        mqtt_broker.broker.check(mailbox)
        while mailbox.waiting:
            message = mailbox.waiting.popleft()
            payload = message.payload if self._binary else message.payload.decode()
            call = self._topic_callbacks.get(message.topic, self.on_message)
            if call is not None:
                call(self, message.topic, payload)
        return None

    def _connected(self) -> Mailbox:
        if self._mailbox is None:
            raise MMQTTException("MiniMQTT is not connected")
        return self._mailbox
