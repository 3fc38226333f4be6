"""What the base install does beside the versions of an existing service: `.ci/oldest.py base` runs it.

Its virtual environment has opentelemetry-api and -sdk 1.30, protobuf 5.29, paho-mqtt 1.6, and nothing of `[shim]`.
"""

import json
import subprocess
import sys
from importlib import metadata
from typing import Any

import paho.mqtt.client as paho
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host import stages

NOT_LOADED = {
    "click", "google", "paho", "platformdirs", "redis", "sqlite3", "starlette", "structlog", "urllib3", "uvicorn",
}  # fmt: skip
TRACEPARENT = "00-d4e194814a0000001147b1c0c2ad48d3-8973a8cf00000011-03"


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)


def test_nothing_that_was_there_was_moved() -> None:
    installed = {name: metadata.version(name) for name in ("opentelemetry-api", "protobuf", "paho-mqtt")}
    assert installed == {"opentelemetry-api": "1.30.0", "protobuf": "5.29.5", "paho-mqtt": "1.6.1"}
    assert {"click", "starlette", "structlog"}.isdisjoint(one.metadata["Name"] for one in metadata.distributions())


@pytest.mark.parametrize("module", ["stages", "functions", "otel", "functions.aws_lambda", "otel.propagator"])
def test_what_services_import_loads_nothing_that_listens_or_stores(module: str) -> None:
    shown = run("-c", f"import sys, motetrace_host.{module}\nprint(*{{m.partition('.')[0] for m in sys.modules}})")
    assert shown.returncode == 0, shown.stderr
    assert NOT_LOADED.isdisjoint(shown.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["run", "--topic", "a/{device_id}"], ["trace", "d", "--seq", "1"]])
def test_the_command_says_in_one_line_what_to_install(words: list[str]) -> None:
    shown = run("-m", "motetrace_host", *words)
    assert shown.returncode == 2
    assert len(shown.stderr.splitlines()) == 1
    assert "pip install 'motetrace[shim]'" in shown.stderr
    assert "pip install '.[shim]'" in shown.stderr


def test_the_device_library_makes_a_traceparent_here() -> None:
    from motetrace import Tracer

    assert len(bytes(Tracer().next())) == 55


@pytest.fixture
def reports() -> Any:
    sent: list[dict[str, Any]] = []
    stages.configure(report=lambda topic, payload: sent.append(json.loads(payload)))
    yield sent
    stages.configure()


@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311])
def test_a_number_survives_an_old_sdk_and_an_old_client(reports: list[dict[str, Any]], protocol: int) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer: trace.Tracer = provider.get_tracer("service")
    message = paho.MQTTMessage(mid=1, topic=b"devices/d/telemetry")
    message.payload = b'{"temp":1}'
    message.properties = Properties(PacketTypes.PUBLISH)
    message.properties.UserProperty = ("traceparent", TRACEPARENT)
    client, sent = paho.Client(protocol=protocol), []
    client.publish = lambda *words: sent.append(words) or paho.MQTTMessageInfo(1)
    with stages.rule_evaluate(message, name="r", action="republish", tracer=tracer) as rule:
        rule.matched = True
        rule.publish(client, "rules/store", qos=1)
    passed_on = paho.MQTTMessage(mid=2, topic=b"rules/store")
    passed_on.payload = sent[0][1]
    if protocol == paho.MQTTv5:
        passed_on.properties = sent[0][4]
    with stages.transform_store(passed_on, name="store", tracer=tracer):
        pass
    stages.flush_reports()
    assert [report["seen"] for report in reports] == [{"d4e194814a": [[17, 17]]}] * 2
    rule_span, function_span = sorted(spans.get_finished_spans(), key=lambda span: span.name)
    assert function_span.parent is not None
    assert {span.context.trace_id for span in (rule_span, function_span)} == {int(TRACEPARENT[3:35], 16)}
    assert function_span.parent.span_id == rule_span.context.span_id
    assert function_span.parent.trace_flags & 2, "the random flag of the trace-id is passed on"


def test_a_client_of_our_own_for_reports_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"paho-mqtt 2\.1 or newer") as refused:
        stages.configure(report="mqtt://127.0.0.1:1883")
    assert "report=client" in str(refused.value)
