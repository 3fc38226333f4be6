"""A stranger's plain paho program becomes a traced one by `opentelemetry-instrument` alone.

Everything is real: the example as it stands, OpenTelemetry's own command, a broker, OTLP over HTTP into our receiver.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto, popen

from motetrace_host.core.spans.span import Span, SpanKind, Status
from motetrace_host.network import otlp_codec
from motetrace_host.network.otlp_receiver import OtlpReceiver
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.storage import database
from motetrace_host.storage.span_store import SpanStore
from tests.waiting import LIMIT_S, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_paho"
TRACE_ID, PARENT_ID = "3f2a9c01d40000002a8eb211c80319c1", "b7ad6b710000002a"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-03"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[OtlpReceiver, Callable[[str], list[Span]]]]:
    """A real OTLP receiver, and how to read the spans it stored of one trace."""
    path = tmp_path / "spans.sqlite3"
    opened = OtlpReceiver(SpanIntake(database.connect(path)), port=0)
    opened.start()
    store = SpanStore(database.connect(path))
    yield opened, lambda trace_id: [otlp_codec.unpack(row) for row in store.trace(bytes.fromhex(trace_id))]
    opened.stop()


def readme_command() -> tuple[dict[str, str], list[str]]:
    """The environment and the words of the README's traced command."""
    text = (EXAMPLE / "README.md").read_text()
    shown = re.search(r"(    OTEL_SERVICE_NAME=.*?opentelemetry-instrument [^\n]*\n)", text, re.DOTALL)
    assert shown is not None
    words = shlex.split(shown[1].replace("\\\n", " "))
    first = words.index("opentelemetry-instrument")
    return dict(word.split("=", 1) for word in words[:first]), words[first:]


class Engine:
    """The example's process, by the README's command or plain."""

    def __init__(self, broker: Mosquitto, traced: bool, otlp_port: int) -> None:
        environment, command = readme_command()
        if traced:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{otlp_port}"
            environment["OTEL_BSP_SCHEDULE_DELAY"] = "100"
            command[0] = str(Path(sys.executable).with_name("opentelemetry-instrument"))
        else:
            environment, command = {}, command[1:]
        command[command.index("python")] = sys.executable
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "MOTETRACE_"))}
        self.lines: list[str] = []
        self._process = popen(
            [*command, broker.host, str(broker.port)],
            cwd=EXAMPLE, env=inherited | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: "ready\n" in self.lines or self._process.poll() is not None, self.log)
        assert self._process.poll() is None, self.log()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(iter(self._process.stdout.readline, ""))

    def log(self) -> str:
        return "".join(self.lines)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._reader.join(10)


@pytest.fixture
def start_engine(
    mosquitto: Mosquitto, receiver: tuple[OtlpReceiver, Callable[[str], list[Span]]]
) -> Iterator[Callable[[bool], Engine]]:
    running: list[Engine] = []

    def start(traced: bool) -> Engine:
        running.append(Engine(mosquitto, traced, receiver[0].port))
        return running[-1]

    yield start
    for engine in running:
        engine.stop()


@pytest.fixture
def device(mosquitto: Mosquitto) -> Iterator[tuple[Callable[[bytes], None], list[dict[str, str]]]]:
    """How to send a reading with a context, and the user properties of the alarms that came back."""
    alarms: list[dict[str, str]] = []
    ready = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_connect = lambda *_: client.subscribe("rules/alarm", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _, __, message: alarms.append(dict(getattr(message.properties, "UserProperty", [])))
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    assert ready.wait(LIMIT_S)

    def send(payload: bytes) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = ("traceparent", TRACEPARENT)
        client.publish("devices/sensor-0042/telemetry", payload, 1, properties=properties).wait_for_publish(LIMIT_S)

    yield send, alarms
    client.disconnect()
    client.loop_stop()


def test_the_entry_points_are_installed() -> None:
    (instrumentor,) = entry_points(group="opentelemetry_instrumentor", name="paho_mqtt")
    assert instrumentor.load().__name__ == "PahoMqttInstrumentor"
    (propagator,) = entry_points(group="opentelemetry_propagator", name="motetrace")
    assert propagator.load().__name__ == "MotetracePropagator"


def test_the_example_imports_nothing_of_ours_or_of_opentelemetry() -> None:
    source = (EXAMPLE / "rule_engine.py").read_text()
    assert "import paho.mqtt.client" in source
    assert "motetrace" not in source and "opentelemetry" not in source


def test_run_plainly_the_program_forwards_and_tells_nobody(
    start_engine: Callable[[bool], Engine], device: Any, receiver: Any
) -> None:
    engine = start_engine(False)
    send, alarms = device
    send(b'{"temp":31.5}')
    until(lambda: alarms, engine.log)
    assert alarms == [{}]
    assert receiver[1](TRACE_ID) == []


def test_run_by_opentelemetry_instrument_the_same_program_is_traced(
    start_engine: Callable[[bool], Engine], device: Any, receiver: Any
) -> None:
    engine = start_engine(True)
    send, alarms = device
    for payload in (b'{"temp":31.5}', b'{"temp":3.5}', b'{"temp":"warm"}'):
        send(payload)
    spans: list[Span] = until(
        lambda: found if len(found := receiver[1](TRACE_ID)) >= 4 else None,
        lambda: engine.log() + str(receiver[1](TRACE_ID)),
    )
    processed = [span for span in spans if span.name == "process devices/{device_id}/telemetry"]
    (published,) = [span for span in spans if span.name == "publish rules/alarm"]
    assert len(processed) == 3 and len(spans) == 4
    for span in processed:
        assert (span.kind, span.service_name) == (SpanKind.CONSUMER, "rule-engine")
        assert span.parent_id is not None and span.parent_id.hex() == PARENT_ID
        assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.links] == [(TRACE_ID, PARENT_ID)]
        assert span.attributes["messaging.system"] == "mqtt"
        assert span.attributes["messaging.client.id"] == "plain-rule-engine"
        assert span.attributes["device.id"] == "sensor-0042"
        assert span.attributes["code.function.name"] == "__main__.on_message"
    (failed,) = [span for span in processed if span.status is Status.ERROR]
    assert failed.attributes["error.type"] == "TypeError"
    (forwarded,) = [span for span in processed if span.span_id == published.parent_id]
    assert forwarded is not failed
    assert published.kind is SpanKind.PRODUCER
    until(lambda: alarms, engine.log)
    assert alarms == [{"traceparent": f"00-{TRACE_ID}-{published.span_id.hex()}-03"}]
