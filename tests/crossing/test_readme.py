"""What the README shows is run: its device lines, its consumer lines and its command, as they stand there."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from services import Mosquitto, free_port, popen

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


def poll(condition: Any, what: str, limit_s: float = 20.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)
    return value


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
        poll(lambda: b'"subscribed"' in log_path.read_bytes(), "the shim subscribes")
        yield tmp_path / "state", f"http://{otlp}"
    finally:
        process.terminate()
        assert process.wait(20) == 0, log_path.read_text()


@pytest.mark.parametrize("bits", [32, 64])
def test_the_lines_of_the_readme_give_the_trace_of_the_readme(
    bits: int, mosquitto: Mosquitto, shim: Any, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, otlp = shim
    provider = TracerProvider(resource=Resource({"service.name": "rule-engine"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{otlp}/v1/traces")))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)  # the process-wide provider can be set only once
    consumer: dict[str, Any] = {}
    exec(block("stage"), consumer)
    passed_on: list[paho.MQTTMessage] = []
    with_trace = threading.Event()

    def on_message(client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if message.topic == "rules/store":
            passed_on.append(message)
            if len(passed_on) == READINGS:
                with_trace.set()
        else:
            consumer["on_message"](client, userdata, message)

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = on_message
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    client.subscribe([("devices/+/telemetry", 1), ("rules/store", 1)])
    assert subscribed.wait(10)

    device = SENSOR + block("device").replace('"broker.local"', f'"{mosquitto.host}", {mosquitto.port}')
    environment = {**os.environ, "MICROPYPATH": f"{parts.device_lib}:{parts.simple2}"}
    subprocess.run([*parts.micropython(bits), "-c", device], env=environment, check=True, timeout=30)
    assert with_trace.wait(20), f"{len(passed_on)} of {READINGS} readings were passed on"
    client.disconnect()
    client.loop_stop()
    provider.shutdown()

    properties = dict(passed_on[0].properties.UserProperty)
    assert properties["traceparent"][13:21] == "00000001"
    asked = motetrace("trace", "sensor-0042", "--seq", "1", "--state", str(state))
    shown = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    assert properties["traceparent"][3:35] in shown
    for span in ("device_publish", "broker_forward", "rule_evaluate"):
        assert span in shown, shown


def test_the_readme_has_ten_device_lines_and_five_host_lines() -> None:
    assert len(block("device").replace("\n\n", "\n").splitlines()) <= 10
    assert len(block("stage").replace("\n\n", "\n").splitlines()) <= 5


def test_every_file_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
