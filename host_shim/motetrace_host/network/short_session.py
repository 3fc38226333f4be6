"""A short MQTT session by paho-mqtt: connect, subscribe, publish, receive for a while, and disconnect."""

from __future__ import annotations

import contextlib
import queue
import secrets
import ssl
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from motetrace_host.core.errors import OperatorError
from motetrace_host.core.mqtt import refusals
from motetrace_host.core.mqtt.connection import Broker
from motetrace_host.core.mqtt.refusals import HOPELESS

_KEEPALIVE_S = 30
_MAX_WAITING = 10_000


class ReceivedMessage(NamedTuple):
    """A message; `retained`: the broker kept it from before."""

    topic: str
    payload: bytes
    retained: bool


class ShortSession:
    """A connection of its own, with a clean session; used as a context manager.

    Args:
        tls: by `network/tls`, None without TLS.
        limit_s: how long the broker may take for each answer.
    Raises:
        OperatorError: from every method: the broker is away, refuses, or does not answer.
    """

    def __init__(self, broker: Broker, tls: ssl.SSLContext | None, limit_s: float = 10.0) -> None:
        self._broker = broker
        self._tls = tls
        self._limit_s = limit_s
        self._received: queue.Queue[ReceivedMessage] = queue.Queue(_MAX_WAITING)
        self._answer: queue.Queue[ReasonCode | None] = queue.Queue()
        self._lost = threading.Event()
        self._client = self._new_client()

    def __enter__(self) -> Self:
        where = f"the broker at {self._broker.host}:{self._broker.port}"
        try:
            self._client.connect(self._broker.host, self._broker.port, _KEEPALIVE_S)
        except (OSError, ValueError) as error:
            of_tls = refusals.remedy(str(error)) if self._tls else ""
            remedy = of_tls or "is it running, and is --broker right?"
            raise OperatorError(f"{where} cannot be reached: {error}; {remedy}") from error
        self._client.loop_start()
        try:
            certificate = ", and does it want to see a certificate (--client-cert)" if self._tls else ""
            reason = self._wait(f"{where} does not answer as an MQTT 5 broker does; is --broker right{certificate}?")
            if reason.is_failure:
                raise OperatorError(f"{where} refuses: {HOPELESS.get(reason.value, str(reason))}")
        except OperatorError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._end()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe at QoS 1; what the broker keeps on them comes first."""
        options = SubscribeOptions(qos=1)
        self._client.subscribe([(topic, options) for topic in topics])
        reason = self._wait("the broker does not answer a subscription; try again")
        if reason.is_failure:
            raise OperatorError(
                f"the broker refuses the subscription to {topics[0]}: {reason}; check its access list for --username"
            )

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish retained at QoS 1, and wait until the broker has it. An empty payload deletes what it keeps."""
        self._client.publish(topic, payload, qos=1, retain=True)
        reason = self._wait("the broker does not acknowledge the request; whether it keeps it is not known: try again")
        if reason.is_failure:
            raise OperatorError(f"the broker refuses {topic}: {reason}; check its access list for --username")

    def receive(self, wait_s: float) -> ReceivedMessage | None:
        """The next message, None when none came in time."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                return self._received.get(timeout=min(0.2, left_s))
            if self._lost.is_set():
                raise OperatorError("the broker closed the connection while motetrace waited for messages; try again")
        return None

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"motetrace-sampling-{secrets.token_hex(4)}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._limit_s
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password or None)
        if self._tls:
            client.tls_set_context(self._tls)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: self._answer.put(reason)
        client.on_subscribe = lambda _client, _data, _id, reasons, _properties: self._answer.put(_worst(reasons))
        client.on_publish = lambda _client, _data, _id, reason, _properties: self._answer.put(reason)
        client.on_message = self._on_message
        client.on_disconnect = lambda *_: self._on_disconnect()
        return client

    def _on_message(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(queue.Full):
            self._received.put_nowait(ReceivedMessage(message.topic, bytes(message.payload), message.retain))

    def _on_disconnect(self) -> None:
        self._lost.set()
        self._answer.put(None)

    def _wait(self, otherwise: str) -> ReasonCode:
        try:
            reason = self._answer.get(timeout=self._limit_s)
        except queue.Empty:
            raise OperatorError(otherwise) from None
        if reason is None:
            raise OperatorError(f"the broker closed the connection: {otherwise}")
        return reason

    def _end(self) -> None:
        self._client.loop_stop()


def _worst(reasons: list[ReasonCode]) -> ReasonCode:
    return next((reason for reason in reasons if reason.is_failure), reasons[0])
