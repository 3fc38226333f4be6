"""A rule engine: looks at every reading, flags the warm ones, hands all on to the function.

    python rule_engine.py --broker 127.0.0.1:1883 --otlp http://127.0.0.1:4318 --key-file state/key

What motetrace needs of it are the lines with `stages`. It acknowledges a reading only when the broker has its
republished message, so that stopping it at any moment loses nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import threading
from typing import Any

import span_export
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host import stages

TOPICS = ("devices/{device_id}/telemetry", "traced/{device_id}/telemetry")
TOO_WARM_C = 4.0
SESSION_EXPIRY_S = 3600

log = logging.getLogger("rule-engine")


def evaluate(client: Client, message: MQTTMessage) -> int:
    """Run the one rule on one reading; returns the packet id of what was republished."""
    with stages.rule_evaluate(message, name="store-reading", action="republish") as rule:
        reading = json.loads(rule.payload)
        reading["device"] = message.topic.split("/")[1]
        temp = reading["temp"]
        reading["too_warm"] = isinstance(temp, (int, float)) and temp > TOO_WARM_C
        rule.matched = True
        rule.span.set_attribute("rule.too_warm", reading["too_warm"])
        published: int = rule.publish(client, "rules/store", json.dumps(reading), qos=1).mid
        return published


class RuleEngine:
    """The MQTT side: acknowledges what came in when what went out is acknowledged."""

    def __init__(self, host: str, port: int, key_file: str) -> None:
        self._waiting: dict[int, tuple[int, int]] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, "rule-engine", protocol=MQTTv5, manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: print("ready", flush=True)
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        # The shim's key, so that seqrefs are derived alike; and what was counted here goes out on the same connection.
        stages.configure(key_file=key_file, topics=TOPICS, report=self._client, reporter="rule-engine")
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect(host, port, clean_start=False, properties=properties)

    def run_until(self, stop: threading.Event) -> None:
        self._client.loop_start()
        stop.wait()
        stages.flush_reports()
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, userdata: object, flags: object, reason: Any, properties: object) -> None:
        client.subscribe([(topic.replace("{device_id}", "+"), 1) for topic in TOPICS])

    def _on_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        try:
            self._waiting[evaluate(client, message)] = (message.mid, message.qos)
        except Exception:  # paho's thread ends with the first one that escapes; one bad reading must not stop the rest
            log.exception("reading on %r cannot be evaluated; left out", message.topic)
            client.ack(message.mid, message.qos)

    def _on_publish(self, client: Client, userdata: object, mid: int, reason: object, properties: object) -> None:
        source = self._waiting.pop(mid, None)
        if source is not None:
            client.ack(*source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--otlp", required=True, metavar="URL")
    parser.add_argument("--key-file", required=True, help="the shim's, so that seqrefs are derived alike")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    provider = span_export.start("rule-engine", options.otlp)
    host, _, port = options.broker.rpartition(":")
    RuleEngine(host, int(port), options.key_file).run_until(stop)
    provider.shutdown()


if __name__ == "__main__":
    main()
