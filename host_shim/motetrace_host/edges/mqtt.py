"""The shim's connection to the broker: MQTT 5 by paho-mqtt, a persistent session, acknowledgements by hand.

paho keeps CONNECT, SUBSCRIBE, keep-alive, TLS and outgoing QoS. Reading is ours (`_Client.loop_read`), for two reasons:
paho's reader drops the connection on messages that a broker may lawfully forward (the broker then sends the same one
again, for ever), and it spends far more processor time. It uses private methods of paho 2.2: pin the minor version.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from motetrace_host.core import mqtt_frame
from motetrace_host.core.attempts import Attempts
from motetrace_host.core.connack import HOPELESS, NO_MQTT_5, SAME_CLIENT_ID
from motetrace_host.core.link import Broker, Chunk, Published, Session, Subscription
from motetrace_host.core.mqtt_frame import Frame
from motetrace_host.core.publish_packet import PROPERTY_NAMES
from motetrace_host.core.wire_error import WireError

MAXIMUM_PACKET_BYTES = 16 << 20  # told to the broker, which then keeps larger ones from us (MQTT 5.0, 3.1.2.11.4)
_KEEPALIVE_S = 30
_READ_BYTES = 1 << 18
_LARGEST_BYTES = 268_435_455  # of any MQTT packet
_FRAME_BYTES = 120  # what a frame takes beside its bytes
_MAX_INFLIGHT = 1_000  # of our own publishes


class _Client(paho.Client):
    """paho's client with a reader that takes PUBLISH packets out of large reads and queues PUBACKs together."""

    unread = b""
    deliver: Callable[[list[Frame], int], None]
    refused_protocol = False

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        try:
            data = self._sock_recv(_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        try:
            frames, self.unread = mqtt_frame.split(self.unread + data)
        except WireError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        for first, body in frames:  # these first: CONNACK has to be known when what follows it is acknowledged
            if first & 0xF0 != 0x30 and code <= 0 and self._sock is not None:
                code = self._other_frame(first, body)
        publishes = [frame for frame in frames if frame[0] & 0xF0 == 0x30]
        if publishes:
            self.deliver(publishes, len(data))
        return self._loop_rc_handle(code) if code > 0 else MQTTErrorCode.MQTT_ERR_SUCCESS

    def _other_frame(self, first: int, body: bytes) -> MQTTErrorCode:
        if first == 0x20 and len(body) == 2 and body[1]:  # an MQTT 3 CONNACK: the broker could not read our CONNECT
            self.refused_protocol = True
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._in_packet["command"] = first
        self._in_packet["packet"] = bytearray(body)
        self._in_packet["remaining_length"] = len(body)
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def allow_inflight(self, receive_maximum: int) -> None:
        # paho's setter refuses once connected, but only CONNACK says how many the broker takes.
        self._max_inflight_messages = min(_MAX_INFLIGHT, receive_maximum)

    def queue_pubacks(self, packet_ids: Sequence[int]) -> None:
        acknowledgements = struct.pack(
            ">" + "HH" * len(packet_ids), *chain.from_iterable(zip(repeat(0x4002), packet_ids))
        )
        self._packet_queue(paho.PUBACK, acknowledgements, 0, 1)

    def pending(self) -> bool:
        """Whether TLS has decrypted bytes that the socket does not show as readable."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0


class Subscriber:
    """Holds one MQTT 5 session open, and hands over what arrives on its own thread.

    The three listeners are called on the network thread. `deliver` gets messages in the broker's order; it may block
    (then TCP holds the broker back). `on_published` must not block: paho holds a lock of its publish meanwhile.
    `on_link` hears `connected`, `subscribed` (to all), `subscription_refused`, `disconnected`, `refused` (for good: the
    thread has ended). One that is `leaving` ends its subscriptions instead, gets what the broker has kept, and hears
    `unsubscribed` (from all).
    """

    def __init__(
        self,
        broker: Broker,
        session: Session,
        subscriptions: Sequence[Subscription],
        deliver: Callable[[Chunk], None],
        on_published: Callable[[Published], None],
        on_link: Callable[[str, dict[str, Any]], None],
        *,
        leaving: bool = False,
    ) -> None:
        self._subscriptions = subscriptions
        self._leaving = leaving
        self._deliver = deliver
        self._published = on_published
        self._on_link = on_link
        self._lock = threading.Lock()  # holds "this connection is the current one" together with "queue the PUBACK"
        self._connection = 0
        self._outworn = 0
        self._connected = False
        self._ever_connected = False
        self._subscribed = 0
        self._hopeless = False
        self._lost_because = ""
        self._largest_bytes = _LARGEST_BYTES
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._client = self._new_client(broker, session)
        self._thread = threading.Thread(target=self._run, name="motetrace-mqtt", daemon=True)

    def _new_client(self, broker: Broker, session: Session) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2, client_id=session.client_id, protocol=paho.MQTTv5, manual_ack=True
        )
        client.deliver = self._on_publishes
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        client.on_publish = self._on_publish
        client.on_socket_register_write = lambda *_: self._wake()
        # Without it a republish waits 40 ms for each flight of 20 that mosquitto takes.
        client.on_socket_open = lambda *of: of[2].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if broker.username:
            client.username_pw_set(broker.username, broker.password or None)
        if broker.tls:
            client.tls_set(ca_certs=broker.ca_file or None)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session.expiry_s
        properties.ReceiveMaximum = session.receive_maximum
        properties.MaximumPacketSize = MAXIMUM_PACKET_BYTES
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S, clean_start=False, properties=properties)
        return client

    def start(self) -> None:
        """Begin to connect; comes back at once."""
        self._thread.start()

    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages, in this order. Those of an earlier connection are passed over: they come again."""
        with self._lock:
            if connection == self._connection and self._connected:
                self._client.queue_pubacks(packet_ids)

    def renew(self, connection: int) -> None:
        """End a connection, if it still is the current one, and make a new one: the broker then repeats."""
        self._outworn = connection
        self._wake()

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
        if size > self._largest_bytes:
            raise ValueError(f"about {size} bytes; the broker takes packets of at most {self._largest_bytes}")
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
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_write.send(b"\0")

    def _run(self) -> None:
        attempts = Attempts()
        while not self._stopping.is_set() and not self._hopeless:
            self._lost_because, began = "", time.monotonic()
            try:
                with self._lock:
                    self._connection += 1
                self._client.unread = b""
                self._client.reconnect()
                self._serve()
            except Exception as error:  # noqa: BLE001 (whatever happens here, the next connection is tried)
                self._lost_because = self._lost_because or f"{type(error).__name__}: {error}"
            hint = attempts.ended(self._connected, time.monotonic() - began, self._outworn == self._connection)
            with self._lock:
                self._connected = False
            if self._client.refused_protocol:
                self._refuse(NO_MQTT_5)
            elif not self._stopping.is_set() and not self._hopeless:
                reason = (self._lost_because or "the broker closed the connection") + hint
                self._on_link("disconnected", {"reason": reason, "retry_in_s": attempts.pause_s})
                self._stopping.wait(attempts.pause_s * random.uniform(0.8, 1.2))

    def _serve(self) -> None:
        """Read and write until the connection is gone."""
        with selectors.DefaultSelector() as selector:
            connection = self._client.socket()
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)  # type: ignore[arg-type]
            wanted = selectors.EVENT_READ
            while self._client.socket() is not None:
                want = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
                if want != wanted:
                    selector.modify(connection, want)  # type: ignore[arg-type]
                    wanted = want
                for key, events in selector.select(1.0):
                    if key.fileobj is self._wake_read:
                        with contextlib.suppress(BlockingIOError):
                            self._wake_read.recv(4096)
                        continue
                    if events & selectors.EVENT_WRITE:
                        self._client.loop_write()
                    if events & selectors.EVENT_READ and self._client.socket() is not None:
                        self._client.loop_read()
                        while self._client.pending():
                            self._client.loop_read()
                if self._outworn == self._connection and not self._lost_because:
                    self._lost_because = (
                        "more came than fits into memory (--queue); the broker is to send the rest again"
                    )
                    self._client.disconnect()
                self._client.loop_misc()

    def _on_publishes(self, frames: list[Frame], size_bytes: int) -> None:
        self._deliver(Chunk(frames, self._connection, time.time_ns(), size_bytes + _FRAME_BYTES * len(frames)))

    def _on_connect(self, client: Any, _: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._lost_because = f"the broker refused the connection: {reason}"
            if reason.value in HOPELESS and not self._ever_connected:
                self._refuse(HOPELESS[reason.value])
            return
        with self._lock:
            self._connected = True
        self._ever_connected = True
        self._largest_bytes = getattr(properties, "MaximumPacketSize", _LARGEST_BYTES)
        client.allow_inflight(getattr(properties, "ReceiveMaximum", 65_535))
        self._subscribed = 0
        self._on_link("connected", {"session_present": bool(flags.session_present)})
        if self._leaving:
            client.unsubscribe([subscription.topic_filter for subscription in self._subscriptions])
            return
        for subscription in self._subscriptions:
            options = SubscribeOptions(qos=1, retainHandling=0 if subscription.retained else 2)
            client.subscribe([(subscription.topic_filter, options)])

    def _on_disconnect(self, _: Any, __: Any, flags: Any, reason: ReasonCode, ___: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._lost_because = f"the broker ended the session: {reason}"
            if reason.value == 0x8E:
                self._lost_because += f"; {SAME_CLIENT_ID}"
        elif not self._lost_because:
            self._lost_because = f"connection lost: {reason}"

    def _on_subscribe(self, _: Any, __: Any, ___: int, reasons: list[ReasonCode], ____: Any) -> None:
        if reasons[0].is_failure or reasons[0].value < 1:  # we ask for one at a time, at QoS 1
            self._on_link("subscription_refused", {"reason": str(reasons[0])})
            return
        self._subscribed += 1
        if self._subscribed == len(self._subscriptions):
            self._on_link("subscribed", {"topics": self._subscribed})

    def _on_unsubscribe(self, *_: Any) -> None:
        self._on_link("unsubscribed", {})

    def _on_publish(self, _: Any, __: Any, packet_id: int, reason: ReasonCode, ___: Any) -> None:
        self._published(Published(packet_id, str(reason) if reason.is_failure else ""))

    def _refuse(self, why: str) -> None:
        self._hopeless = True
        self._on_link("refused", {"reason": why})
