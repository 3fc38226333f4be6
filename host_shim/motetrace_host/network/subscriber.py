"""The shim's connection to the broker: MQTT 5 by paho-mqtt, a persistent session, acknowledgements by hand.

How bytes come in is chosen by whoever makes it: `bulk_reader`, or `paho_reader` with `--receive paho`.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Broker, Chunk, Published, Receivers, Session, Subscription
from motetrace_host.core.mqtt.framing import MAX_PACKET_BYTES, Frame
from motetrace_host.core.mqtt.publish_packet import PROPERTY_NAMES
from motetrace_host.core.mqtt.reconnect import ReconnectPauses
from motetrace_host.core.mqtt.refusals import HOPELESS, NO_MQTT_5, SAME_CLIENT_ID, goodbye, lacks
from motetrace_host.core.mqtt.sys_topics import SysTopics

_KEEPALIVE_S = 30
_LARGEST_BYTES = 268_435_455  # of any MQTT packet
_FRAME_BYTES = 120  # what a frame takes beside its bytes
_MAX_INFLIGHT = 1_000  # of our own publishes

Receive = Callable[[str, Callable[[list[Frame], int], None]], tuple[paho.Client, Callable[[Sequence[int]], None]]]
"""Makes a client that hands over PUBLISH packets, and what acknowledges them; see `bulk_reader.receive`."""


class _Connection:
    """What is known of one connection to the broker; `number` counts them, from 1."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.accepted = False
        self.subscribed = 0  # filters that the broker has granted
        self.to_be_renewed = False
        self.lost_because = ""


@dataclass
class _Granted:
    """What the broker has granted at last, for this connection and while there is none."""

    expiry_s: int
    largest_bytes: int = _LARGEST_BYTES


class _Wakeup:
    """Ends a wait in `select` from any thread."""

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)

    def send(self) -> None:
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.receiver.recv(4096)


class Subscriber:
    """Holds one MQTT 5 session open, and hands over what arrives on its own thread.

    The receivers are called on the network thread and must not block: it keeps the connection alive, and paho holds a
    lock of its publish during `published`. The events are `connected`, `subscribed` (to all), `subscription_refused`,
    `disconnected`, `refused` (for good: the thread has ended), `qos_2` (the broker sends such), `watch_refused` (it
    publishes nothing about itself), `session_shortened` (it keeps the session for less than was asked, once) and
    `unsubscribed` (from all).

    Args:
        receive: makes the paho client.
        watched: topics of the broker about itself (`core/mqtt/sys_topics`): for `receivers.broker_queue` alone.
        tls: for a broker with TLS; None: with its `ca_file`, and no certificate of ours.
        leaving: end the subscriptions instead, and get what the broker has kept.
    """

    def __init__(
        self,
        broker: Broker,
        session: Session,
        receive: Receive,
        subscriptions: Sequence[Subscription],
        receivers: Receivers,
        watched: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        *,
        leaving: bool = False,
    ) -> None:
        self.qos_2 = 0
        self._subscriptions = subscriptions
        self._leaving = leaving
        self._sys_topics = SysTopics(() if leaving else watched)
        self._receivers = receivers
        self._lock = threading.Lock()  # holds "this connection is the current one" together with "queue the PUBACK"
        self._current = _Connection(0)
        self._ever_connected = False
        self._granted = _Granted(session.expiry_s)
        self._stopping = threading.Event()  # also when the broker has refused us for good
        self._wakeup = _Wakeup()
        self._client, self._acknowledge = receive(session.client_id, self._on_publishes)
        self._prepare(self._client, broker, session, tls)
        self._thread = threading.Thread(target=self._run, name="motetrace-mqtt", daemon=True)

    def _prepare(self, client: paho.Client, broker: Broker, session: Session, tls: ssl.SSLContext | None) -> None:
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_publish = self._on_publish
        client.on_socket_register_write = lambda *_: self._wakeup.send()
        # Without it a republish waits 40 ms for each flight of 20 that mosquitto takes.
        client.on_socket_open = lambda *of: of[2].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if broker.username:
            client.username_pw_set(broker.username, broker.password or None)
        if broker.tls:
            client.tls_set_context(tls or ssl.create_default_context(cafile=broker.ca_file or None))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session.expiry_s
        properties.ReceiveMaximum = session.receive_maximum
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S, clean_start=False, properties=properties)

    def start(self) -> None:
        """Begin to connect; comes back at once."""
        self._thread.start()

    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages, in this order. Those of an earlier connection are passed over: they come again."""
        with self._lock:
            if connection == self._current.number and self._current.accepted:
                self._acknowledge(packet_ids)

    def renew(self, connection: int) -> None:
        """End a connection, if it still is the current one, and make a new one: the broker then repeats."""
        current = self._current
        if connection == current.number:
            current.to_be_renewed = True
            self._wakeup.send()

    def publish(
        self,
        topic: str,
        payload: bytes,
        user_properties: Sequence[tuple[str, str]],
        passthrough: Sequence[tuple[int, int | str | bytes]],
    ) -> int:
        """Publish at QoS 1; kept and sent again across reconnects until a Published with the returned packet id comes.

        Raises:
            ValueError: the topic has a wildcard, or is empty or too long; or the broker takes no packets of this size
                (it would end the session, and we would send it again, for ever).
        """
        size = len(payload) + len(topic.encode()) + sum(len(k) + len(v) for k, v in user_properties) * 4 + 1_000
        if size > self._granted.largest_bytes:
            raise ValueError(f"about {size} bytes; the broker takes packets of at most {self._granted.largest_bytes}")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = list(user_properties)
        for identifier, value in passthrough:
            setattr(properties, PROPERTY_NAMES[identifier], value)
        while True:  # a packet id still in use is refused as a full queue; the next call tries the next one
            info = self._client.publish(topic, payload, qos=1, properties=properties)
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return info.mid

    def stop(self, timeout_s: float = 5.0, *, end_session: bool = False) -> None:
        """Send what is queued, disconnect so that the broker keeps the session (or ends it), end the thread."""
        self._stopping.set()
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if end_session:
            properties.SessionExpiryInterval = 0
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect(properties=properties)
        self._wakeup.send()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        attempts = ReconnectPauses()
        while not self._stopping.is_set():
            current, began = _Connection(self._current.number + 1), time.monotonic()
            try:
                with self._lock:
                    self._current = current
                self._client.reconnect()
                self._serve()
            except WireError as error:
                self._end(error)
            except Exception as error:  # noqa: BLE001 (whatever happens here, the next connection is tried)
                current.lost_because = current.lost_because or f"{type(error).__name__}: {error}"
            hint = attempts.ended(current.accepted, time.monotonic() - began, current.to_be_renewed)
            with self._lock:
                current.accepted = False
            self._report_watch(self._sys_topics.disconnected())
            if not self._stopping.is_set():
                reason = (current.lost_because or "the broker closed the connection") + hint
                self._receivers.events("disconnected", {"reason": reason, "retry_in_s": attempts.pause_s})
                self._stopping.wait(attempts.pause_s * random.uniform(0.8, 1.2))

    def _serve(self) -> None:
        """Read and write until the connection is gone."""
        with selectors.DefaultSelector() as selector:
            connection = self._client.socket()
            selector.register(self._wakeup.receiver, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)  # type: ignore[arg-type]
            wanted = selectors.EVENT_READ
            while self._client.socket() is not None:
                want = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
                if want != wanted:
                    selector.modify(connection, want)  # type: ignore[arg-type]
                    wanted = want
                for key, events in selector.select(1.0):
                    if key.fileobj is self._wakeup.receiver:
                        self._wakeup.clear()
                        continue
                    if events & selectors.EVENT_WRITE:
                        self._client.loop_write()
                    if events & selectors.EVENT_READ:
                        self._read()
                if self._current.to_be_renewed and not self._current.lost_because:
                    self._current.lost_because = (
                        "more came than fits into --queue; the broker is to send the rest again"
                    )
                    self._client.disconnect()
                self._ask_for_watched()
                self._client.loop_misc()

    def _read(self) -> None:
        if self._client.socket() is not None:
            self._client.loop_read()
        # Bytes that TLS has decrypted already do not make the socket readable.
        while isinstance(connection := self._client.socket(), ssl.SSLSocket) and connection.pending() > 0:
            self._client.loop_read()

    def _end(self, error: WireError) -> None:
        """End a connection that cannot be read on, and tell the broker why if it still reads."""
        self._current.lost_because = str(error)
        if error.reason == "no_mqtt_5":
            self._refuse(NO_MQTT_5)
        with contextlib.suppress(Exception):
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=goodbye(error.reason)))
            self._client.loop_write()
        if (connection := self._client.socket()) is not None:
            connection.close()

    def _ask_for_watched(self) -> None:
        if self._current.subscribed == len(self._subscriptions) and (topics := self._sys_topics.due(time.monotonic())):
            options = SubscribeOptions(qos=0, retainHandling=0)
            _, packet_id = self._client.subscribe([(topic, options) for topic in topics])
            self._sys_topics.subscribed(packet_id or 0)

    def _on_publishes(self, frames: list[Frame], size_bytes: int) -> None:
        if [1 for first, body in frames if first & 4 or (not first & 2 and body.startswith(b"$", 2))]:
            frames = [frame for frame in frames if not self._is_of_sys_topics(frame)]
        if frames:
            self._receivers.messages(
                Chunk(frames, self._current.number, time.time_ns(), size_bytes + _FRAME_BYTES * len(frames))
            )

    def _is_of_sys_topics(self, frame: Frame) -> bool:
        """Whether a PUBLISH is of a watched topic, and handed over there. Counts QoS 2, and reports the first."""
        if self._sys_topics.matches(frame):
            self._receivers.broker_queue(publish_packet.read(*frame))
            return True
        if frame[0] & 4:
            self.qos_2 += 1
            if self.qos_2 == 1:
                self._receivers.events("qos_2", {})
        return False

    def _on_connect(self, client: Any, _: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._current.lost_because = f"the broker refused the connection: {reason}"
            if reason.value in HOPELESS and not self._ever_connected:
                self._refuse(HOPELESS[reason.value])
            return
        lacking = lacks(
            [subscription.topic_filter for subscription in self._subscriptions],
            shared_subscription_available=getattr(properties, "SharedSubscriptionAvailable", 1),
            wildcard_subscription_available=getattr(properties, "WildcardSubscriptionAvailable", 1),
        )
        if lacking:
            self._current.lost_because = f"the broker cannot serve this shim: {lacking}"
            if not self._ever_connected:
                self._refuse(lacking)
            client.disconnect()
            return
        with self._lock:
            self._current.accepted = True
        self._ever_connected = True
        self._granted.largest_bytes = getattr(properties, "MaximumPacketSize", _LARGEST_BYTES)
        self._receivers.events("connected", {"session_present": bool(flags.session_present)})
        self._apply(client, properties)
        if self._leaving:
            client.unsubscribe([subscription.topic_filter for subscription in self._subscriptions])
            return
        for subscription in self._subscriptions:
            options = SubscribeOptions(qos=1, retainHandling=0 if subscription.retained else 2)
            client.subscribe([(subscription.topic_filter, options)])

    def _apply(self, client: Any, properties: Any) -> None:
        """Keep what CONNACK demands; paho's setters refuse by then. Report a session that is kept for less time."""
        client._max_inflight_messages = min(_MAX_INFLIGHT, getattr(properties, "ReceiveMaximum", 65_535))  # noqa: SLF001
        client._keepalive = getattr(properties, "ServerKeepAlive", _KEEPALIVE_S)  # noqa: SLF001 (paho 2.1 does not)
        asked_s = self._granted.expiry_s
        granted_s = getattr(properties, "SessionExpiryInterval", asked_s)
        if granted_s < asked_s:
            self._receivers.events("session_shortened", {"asked_s": asked_s, "granted_s": granted_s})
        self._granted.expiry_s = granted_s

    def _on_disconnect(self, _: Any, __: Any, flags: Any, reason: ReasonCode, ___: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._current.lost_because = f"the broker ended the session: {reason}"
            if reason.value == 0x8E:
                self._current.lost_because += f"; {SAME_CLIENT_ID}"
        elif not self._current.lost_because:
            self._current.lost_because = f"connection lost: {getattr(self._client, 'socket_error', '') or reason}"

    def _on_subscribe(self, _: Any, __: Any, packet_id: int, reasons: list[ReasonCode], ___: Any) -> None:
        if self._sys_topics.is_reply(packet_id):
            self._report_watch(self._sys_topics.replied([str(reason) for reason in reasons if reason.is_failure]))
        elif reasons[0].is_failure or reasons[0].value < 1:  # we ask for one at a time, at QoS 1
            self._receivers.events("subscription_refused", {"reason": str(reasons[0])})
        else:
            self._current.subscribed += 1
            if self._current.subscribed == len(self._subscriptions):
                self._receivers.events("subscribed", {"topics": self._current.subscribed})

    def _on_unsubscribe(self, *_: Any) -> None:
        self._receivers.events("unsubscribed", {})

    def _on_publish(self, _: Any, __: Any, packet_id: int, reason: ReasonCode, ___: Any) -> None:
        self._receivers.published(Published(packet_id, str(reason) if reason.is_failure else ""))

    def _report_watch(self, refusal: str) -> None:
        if refusal:
            self._receivers.events("watch_refused", {"reason": refusal})

    def _refuse(self, why: str) -> None:
        self._stopping.set()
        self._receivers.events("refused", {"reason": why})
