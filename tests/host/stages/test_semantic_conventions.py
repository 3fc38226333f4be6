"""Each stage's span carries docs/spans.md's names and OpenTelemetry's current ones, and no name that is neither."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry.semconv import _incubating, attributes
from opentelemetry.trace import SpanKind

from motetrace_host import stages
from motetrace_host.functions import traced_azure_function, traced_lambda
from tests.host.functions.recorded import (
    AzureContext,
    HttpRequest,
    LambdaContext,
    event,
    hub_event,
    hub_events,
)
from tests.host.stages.stage_recorder import TRACEPARENT, FakeMessage, Recorder, publish_properties

# The name our users search by, and the one that OpenTelemetry has for the same.
PAIRS = {
    "function.name": "faas.name",
    "function.cold_start": "faas.coldstart",
    "db.system": "db.system.name",
    "db.operation": "db.operation.name",
}
OURS = {
    "rule.name", "rule.action", "rule.matched", "rule.destination", "function.name", "function.cold_start",
    "function.batch_item_failures", "transform.fields_extracted", "db.write_latency_ms", "db.write_latency_source",
    "db.status", "mqtt.retained", "trace.origin", "trace.inject",
}  # fmt: skip
REQUIRED = {
    "rule_evaluate": {"messaging.system", "messaging.operation.name", "messaging.operation.type",
                      "messaging.destination.name", "messaging.destination.template"},
    "transform_store": {"faas.name"},
    "db_write": {"db.system.name", "db.operation.name"},
}  # fmt: skip


def registered() -> set[str]:
    """Every attribute name that OpenTelemetry's semantic conventions know, stable and incubating."""
    packages: list[ModuleType] = [attributes, importlib.import_module(f"{_incubating.__name__}.attributes")]
    return {
        value
        for package in packages
        for found in pkgutil.iter_modules(package.__path__)
        for name, value in vars(importlib.import_module(f"{package.__name__}.{found.name}")).items()
        if name.isupper() and isinstance(value, str)
    }


def message(**more: Any) -> FakeMessage:
    return FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT)), **more)


def run_rule(recorder: Recorder) -> None:
    with stages.rule_evaluate(message(), name="r", action="republish", tracer=recorder.tracer) as rule:
        rule.publish(SimpleNamespace(protocol=4, publish=lambda *_: SimpleNamespace(rc=0)), "rules/store", b"x")
    with stages.rule_evaluate(message(retain=True), name="r", action="a", tracer=recorder.tracer):
        pass


def run_transform(recorder: Recorder) -> None:
    for given in (message(), message(retain=True), FakeMessage()):
        with stages.transform_store(
            given, name="f", cold_start=True, kind=SpanKind.SERVER, tracer=recorder.tracer
        ) as transform:
            transform.fields_extracted = 1


def run_write(recorder: Recorder) -> None:
    more: dict[str, Any] = {"namespace": "plant", "collection": "c", "server": ("127.0.0.1", 1)}
    with stages.db_write("influxdb", "write", tracer=recorder.tracer, **more) as write:
        write.fail("no", "400")


def run_lambda(recorder: Recorder) -> None:
    handler = traced_lambda(tracer_provider=recorder.provider)(lambda *_: {"statusCode": 500, "batchItemFailures": []})
    for name in ("aws_iot_user_property", "aws_iot_forgotten", "aws_sqs", "aws_kinesis", "aws_http_v2", "aws_schedule"):
        handler(event(name), LambdaContext())


def run_azure(recorder: Recorder) -> None:
    handler = traced_azure_function(tracer_provider=recorder.provider)(lambda given, context: None)
    for given in (hub_event("azure_iothub_one"), hub_events("azure_iothub_many"), HttpRequest(event("azure_http"))):
        handler(given, AzureContext())


RUNS = [run_rule, run_transform, run_write, run_lambda, run_azure]


@pytest.mark.parametrize("run", RUNS, ids=[run.__name__ for run in RUNS])
def test_every_attribute_is_a_registered_name_or_one_of_ours(
    recorder: Recorder, run: Callable[[Recorder], None]
) -> None:
    run(recorder)
    names = {name for span in recorder.spans for name in span.attributes or {}}
    assert names - registered() - OURS == set()
    assert recorder.spans


def test_every_name_of_ours_is_told_on_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "spans.md").read_text()
    assert OURS - set(re.findall(r"`([a-z_.]+)`", page)) == set()


@pytest.mark.parametrize("run", RUNS, ids=[run.__name__ for run in RUNS])
def test_each_of_our_names_stands_beside_the_current_one(recorder: Recorder, run: Callable[[Recorder], None]) -> None:
    run(recorder)
    for span in recorder.spans:
        told = dict(span.attributes or {})
        assert REQUIRED[span.name] <= set(told)
        for own, current in PAIRS.items():
            assert (own in told) == (current in told), (span.name, own)
            # A platform's own name of the function is faas.name; function.name may be another one.
            assert own == "function.name" or told.get(own) == told.get(current), (span.name, own)


def test_a_failed_write_tells_the_databases_status_code(recorder: Recorder) -> None:
    run_write(recorder)
    with stages.db_write("influxdb", "write", tracer=recorder.tracer) as write:
        write.fail("no", "timeout")
    first, second = (dict(span.attributes or {}) for span in recorder.spans)
    assert (first["error.type"], first["db.response.status_code"]) == ("400", "400")
    assert second["error.type"] == "timeout" and "db.response.status_code" not in second


def test_an_error_of_any_stage_has_a_type(recorder: Recorder) -> None:
    for stage in (
        stages.rule_evaluate(message(), name="r", action="a", tracer=recorder.tracer),
        stages.transform_store(message(), name="f", tracer=recorder.tracer),
        stages.db_write("influxdb", "write", tracer=recorder.tracer),
    ):
        with pytest.raises(ValueError, match="bad"), stage:
            raise ValueError("bad")
    assert [(span.attributes or {})["error.type"] for span in recorder.spans] == ["ValueError"] * 3
