"""What the README shows is run: its device lines, the lines of its services and its command, as they stand there."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services import Influxd, Mosquitto, free_port, popen

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
READINGS = 3
SENSOR = f"""
class sensor:
    left = {READINGS}
    def read():
        if not sensor.left:
            while client.rcv_pids:
                client.check_msg()
            client.disconnect()
            raise SystemExit
        sensor.left -= 1
        return 21.5
"""


def block(name: str) -> str:
    """The fenced block behind the marker `<!-- test: name -->`."""
    match = re.search(rf"<!-- test: {name} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert match, f"README.md has no block marked {name!r}"
    return match[1]


def motetrace(*words: str) -> list[str]:
    return [sys.executable, "-m", "motetrace_host", *words]


@pytest.fixture
def shim(mosquitto: Mosquitto, tmp_path: Path) -> Any:
    """The README's command, with this broker's address and a folder and a port of its own."""
    words = block("run").replace("'", "").replace("mqtt://broker.local:1883", mosquitto.url).split()
    assert words[0] == "motetrace"
    otlp = f"127.0.0.1:{free_port()}"
    extra = ["--state", str(tmp_path / "state"), "--otlp-listen", otlp, "--log-format", "json"]
    log_path = tmp_path / "shim.log"
    with log_path.open("wb") as log:
        process = popen(motetrace(*words[1:], *extra), stdout=log, stderr=log)
    try:
        until(lambda: b'"subscribed"' in log_path.read_bytes(), "the shim subscribes")
        yield tmp_path / "state", f"http://{otlp}"
    finally:
        process.terminate()
        assert process.wait(20) == 0, log_path.read_text()


# A process around the README's lines: OpenTelemetry's SDK, a real database, a paho client that calls them.
SERVICES = """
import json, os, threading, urllib.request
import paho.mqtt.client as paho
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(os.environ["OTLP"] + "/v1/traces")))
stored, all_stored, subscribed = [], threading.Event(), threading.Event()

class database:
    def write(payload):
        line = f"reading temp={json.loads(payload)['temp']}".encode()
        urllib.request.urlopen(os.environ["INFLUX"] + "/write?db=plant", line, 20).close()
        stored.append(payload)
        if len(stored) == int(os.environ["READINGS"]):
            all_stored.set()

exec(open(os.environ["BLOCK"]).read())

def on_message(client, userdata, message):
    (on_rule if message.topic == "rules/store" else on_reading)(client, userdata, message)

client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
client.on_message = on_message
client.on_subscribe = lambda *_: subscribed.set()
client.connect("127.0.0.1", int(os.environ["BROKER_PORT"]))
client.loop_start()
client.subscribe([("devices/+/telemetry", 1), ("rules/store", 1)])
assert subscribed.wait(60)
print("ready", flush=True)
assert all_stored.wait(60), f"{len(stored)} stored"
client.disconnect()
client.loop_stop()
stages.flush_reports()
trace.get_tracer_provider().shutdown()
"""


@pytest.fixture
def services(mosquitto: Mosquitto, influxd: Influxd, shim: Any, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The README's services in a process that ends when all readings are stored."""
    with urllib.request.urlopen(f"{influxd.url}/query", b"q=CREATE DATABASE plant", 20) as answer:
        assert answer.status == 200
    lines = tmp_path / "services.py"
    lines.write_text(block("stages").replace("mqtt://broker.local:1883", mosquitto.url))
    environment = {
        "OTLP": shim[1], "INFLUX": influxd.url, "READINGS": str(READINGS), "BLOCK": str(lines),
        "BROKER_PORT": str(mosquitto.port), "OTEL_SERVICE_NAME": "plant",
    }  # fmt: skip
    process = popen(
        [sys.executable, "-c", SERVICES], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("bits", [32, 64])
def test_the_lines_of_the_readme_give_a_whole_trace_and_its_verdict(
    bits: int, mosquitto: Mosquitto, shim: Any, services: subprocess.Popen[str], parts: Any
) -> None:
    state, _ = shim
    device = SENSOR + block("device").replace('"broker.local"', f'"{mosquitto.host}", {mosquitto.port}')
    environment = {**os.environ, "MICROPYPATH": f"{parts.device_lib}:{parts.simple2}"}
    subprocess.run([*parts.micropython(bits), "-c", device], env=environment, check=True, timeout=60)
    assert services.wait(60) == 0

    def shown() -> str:
        asked = motetrace("trace", "sensor-0042", "--seq", "1", "--state", str(state))
        return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout

    until(lambda: "STORED" in shown(), "the shim has the reports", 60)
    for span in ("device_publish", "broker_forward", "rule_evaluate", "transform_store", "db_write"):
        assert span in shown()


def test_the_readme_has_ten_device_lines_and_few_in_the_services() -> None:
    assert len(block("device").replace("\n\n", "\n").splitlines()) <= 10
    assert len(block("stages").replace("\n\n", "\n").splitlines()) <= 14
