"""A small MQTT 5 client of its own for reports, for processes that have none: paho-mqtt, publishing only.

It does not keep what it cannot send: its owner does, and gives it again. Imported only where reports go to a URL,
because it is the one part of the stages that needs paho-mqtt.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from typing import Any, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from motetrace_host.core.mqtt.connection import Broker
from motetrace_host.network import tls

NO_SUBSCRIBER: Final = 0x10
_KEEPALIVE_S: Final = 60
_MAX_PAUSE_S: Final = 30
_GOODBYE_S: Final = 0.5


class ReportReceipt:
    """What became of one report."""

    def __init__(self, client: ReportClient, info: paho.MQTTMessageInfo) -> None:
        self._client = client
        self._info = info

    def is_published(self) -> bool:
        """True when the broker took it and somebody subscribes to it.

        Raises:
            RuntimeError: refused, or nobody subscribes, so that the broker threw it away; it has to be sent again.
        """
        if not self._info.is_published():
            return False
        refusal = self._client.refusals.pop(self._info.mid, "")
        if refusal:
            raise RuntimeError(refusal)
        return True


class ReportClient:
    """Connects in the background at the first publish, and again whenever the connection is lost.

    Args:
        broker: Where to; needs MQTT 5.
        client_id: Of this process alone.
        context: Of the connection, None without TLS.
    """

    def __init__(self, broker: Broker, client_id: str, context: ssl.SSLContext | None) -> None:
        self.refusals: dict[int, str] = {}
        self._broker = broker
        self._lock = threading.Lock()
        self._started = False
        self._gone = threading.Event()
        self._refused_because = ""
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
        client.on_connect = self._on_connect
        client.on_disconnect = lambda *_: self._gone.set()
        client.on_publish = self._on_publish
        client.reconnect_delay_set(1, _MAX_PAUSE_S)
        if broker.username:
            client.username_pw_set(broker.username, broker.password or None)
        if context:
            client.tls_set_context(context)

    def publish(self, topic: str, payload: bytes) -> ReportReceipt:
        """Hand a report to the broker at QoS 1; comes back at once.

        Raises:
            ConnectionError: not connected, which is so at the first call too; try again a moment later.
            RuntimeError, ValueError: the client does not take it.
        """
        self._start()
        if not self._client.is_connected():
            where = f"{self._broker.host}:{self._broker.port}"
            raise ConnectionError(f"not connected to {where}{self._refused_because}")
        info = self._client.publish(topic, payload, qos=1)
        return ReportReceipt(self, info)

    def close(self) -> None:
        """Say goodbye to the broker; waits for that a moment only, however stuck the connection is.

        The thread ends by itself: paho's `loop_stop` would wait for a connect that is still being tried.
        """
        with contextlib.suppress(OSError, ValueError):
            if self._client.is_connected() and self._client.disconnect() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._gone.wait(_GOODBYE_S)
            else:
                self._client.disconnect()

    def _start(self) -> None:
        with self._lock:
            if not self._started:
                self._client.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
                self._client.loop_start()
                self._started = True

    def _on_connect(self, _: Any, __: Any, ___: Any, reason: ReasonCode, ____: Any) -> None:
        self._gone.clear()
        self._refused_because = f": {reason}" if reason.is_failure else ""

    def _on_publish(self, _: Any, __: Any, packet_id: int, reason: ReasonCode, ___: Any) -> None:
        if reason.is_failure:
            self.refusals[packet_id] = f"the broker refused it: {reason}"
        elif reason.value == NO_SUBSCRIBER:
            self.refusals[packet_id] = "nobody subscribes to it; has the shim run yet, with the same prefix?"


class BrokerSink:
    """A small MQTT client of our own, for processes that have none. It connects when there is something to report.

    Raises:
        OperatorError: a certificate or a key cannot be used.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client = ReportClient(broker, f"motetrace-{os.urandom(8).hex()}", tls.of(broker))
        self.publish = self._client.publish

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def forked(self) -> BrokerSink:
        """A child needs a connection of its own; the parent's stays as it is."""
        return BrokerSink(self._broker)
