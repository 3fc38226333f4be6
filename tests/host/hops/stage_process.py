"""A rule engine or a function that reports what it saw, and notes the same by itself: one line per message.

    python stage_process.py rule|function PORT LOG

The rule matches two messages in three and raises on one in seven; the database refuses one in five.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host import stages

SESSION_EXPIRY_S = 600
TOPICS = {"rule": "devices/+/telemetry", "function": "rules/store"}
END = b"end"


class Role:
    """What both do: hold a session open, log, and acknowledge a message when its work is done."""

    def __init__(self, name: str, port: int, log: Path) -> None:
        self.name = name
        self.done = threading.Event()
        self._log = log.open("a", buffering=1)
        self.client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.client.on_connect = lambda client, *_: client.subscribe(TOPICS[name], 1)
        self.client.on_subscribe = lambda *_: print("ready", flush=True)
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self.client.connect("127.0.0.1", port, clean_start=False, properties=properties)

    def note(self, hop: str, outcome: str, number: str) -> None:
        self._log.write(f"{hop} {outcome} {number}\n")

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if message.payload == END:
            if self.name == "rule":
                self.client.publish("rules/store", END, 1)
            self.note("end", "-", "-")
        elif self.name == "rule":
            self.evaluate(message)
        else:
            self.store(message)

    def evaluate(self, message: MQTTMessage) -> None:
        number = message.payload.decode()
        seq = int(number.partition("-")[2])
        try:
            with stages.rule_evaluate(message, name="r", action="republish") as rule:
                if seq % 7 == 0:
                    raise ValueError(number)
                rule.matched = seq % 3 != 0
                if rule.matched:
                    rule.publish(self.client, "rules/store", qos=1)
        except ValueError:
            self.note("rule", "failed", number)
        else:
            self.note("rule", "seen" if rule.matched else "filtered", number)

    def store(self, message: MQTTMessage) -> None:
        number = message.payload.decode()
        with stages.transform_store(message, name="f"):
            with stages.db_write("influxdb", "write") as write:
                refused = int(number.partition("-")[2]) % 5 == 0
                if refused:
                    write.fail("field type conflict", "400")
        self.note("function", "seen", number)
        self.note("db", "failed" if refused else "seen", number)


def main(name: str, port: int, log: Path) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    trace.set_tracer_provider(TracerProvider())  # so that each stage has a span-id of its own
    role = Role(name, port, log)
    report = role.client if name == "rule" else f"mqtt://127.0.0.1:{port}"
    stages.configure(report=report, reporter=name, report_every_s=0.2)
    role.client.loop_start()
    stop.wait()
    arrived = stages.flush_reports(20)
    role.client.disconnect()
    role.client.loop_stop()
    return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
