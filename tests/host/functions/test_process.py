"""What a platform does to a process: it starts cold, and is frozen when the handler returns."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from motetrace_host.functions import traced_azure_function, traced_lambda
from motetrace_host.functions.cold_start import cold_start
from motetrace_host.functions.flush import flush
from tests.host.functions.recorded import LambdaContext, attributes
from tests.host.stages.stage_recorder import Recorder


def test_only_the_first_invocation_of_a_process_is_cold_whichever_handler_it_was(recorder: Recorder) -> None:
    first = traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)
    second = traced_azure_function(tracer_provider=recorder.provider)(lambda event: None)
    first({}, None)
    first({}, None)
    second(None)
    assert [attributes(span)["function.cold_start"] for span in recorder.spans] == [True, False, False]
    assert [attributes(span)["faas.coldstart"] for span in recorder.spans] == [True, False, False]


def test_an_invocation_that_fails_was_the_first_all_the_same(recorder: Recorder) -> None:
    outcomes = iter([1, 0])
    handler = traced_lambda(tracer_provider=recorder.provider)(lambda *_: 1 // (1 - next(outcomes)))
    with pytest.raises(ZeroDivisionError):
        handler({}, None)
    handler({}, None)
    assert [attributes(span)["function.cold_start"] for span in recorder.spans] == [True, False]


def test_of_many_threads_one_is_the_first() -> None:
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(cold_start({}))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [False] * 19 + [True]


@pytest.mark.parametrize(
    ("kind", "cold"), [("provisioned-concurrency", False), ("snap-start", True), ("on-demand", True)]
)
def test_a_process_that_was_kept_prepared_is_not_cold(kind: str, cold: bool) -> None:
    assert cold_start({"AWS_LAMBDA_INITIALIZATION_TYPE": kind}) is cold
    assert cold_start({"AWS_LAMBDA_INITIALIZATION_TYPE": kind}) is False


class Stuck(SpanExporter):
    """A backend that does not answer until the test ends."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.release.wait(20)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.release.set()


def batching(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    return provider


def test_spans_are_out_before_a_lambda_handler_returns() -> None:
    exporter = InMemorySpanExporter()
    provider = batching(exporter)
    traced_lambda(tracer_provider=provider)(lambda *_: None)({}, LambdaContext())
    assert [span.name for span in exporter.get_finished_spans()] == ["transform_store"]
    with pytest.raises(ZeroDivisionError):
        traced_lambda(tracer_provider=provider)(lambda *_: 1 // 0)({}, LambdaContext())
    assert len(exporter.get_finished_spans()) == 2
    provider.shutdown()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_azure_leaves_export_to_the_sdk_unless_told_otherwise(asynchronous: bool) -> None:
    exporter = InMemorySpanExporter()
    provider = batching(exporter)

    async def work(event: Any) -> None: ...

    def run(handler: Any) -> None:
        asyncio.run(handler(None)) if asynchronous else handler(None)

    plain = work if asynchronous else (lambda event: None)
    run(traced_azure_function(tracer_provider=provider)(plain))
    assert exporter.get_finished_spans() == ()
    run(traced_azure_function(tracer_provider=provider, flush_ms=5000)(plain))
    assert len(exporter.get_finished_spans()) == 2
    provider.shutdown()


@pytest.mark.parametrize(("flush_ms", "left_ms"), [(50, 3000), (10_000, 150)])
def test_a_backend_that_hangs_costs_a_bounded_time(
    flush_ms: int, left_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = Stuck()
    provider = batching(exporter)
    handler = traced_lambda(tracer_provider=provider, flush_ms=flush_ms)(lambda *_: "done")
    with caplog.at_level(logging.WARNING, "motetrace"):
        assert handler({}, LambdaContext(left_ms=left_ms)) == "done"
    assert "not exported within 50 ms" in caplog.text
    assert not exporter.release.is_set()
    exporter.release.set()
    provider.shutdown()


def test_no_time_left_is_no_flush() -> None:
    exporter = Stuck()
    provider = batching(exporter)
    traced_lambda(tracer_provider=provider)(lambda *_: None)({}, LambdaContext(left_ms=40))  # a flush would not end
    exporter.release.set()
    provider.shutdown()


def test_a_provider_that_raises_costs_its_spans_and_not_the_result(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def force_flush(self, timeout_millis: int) -> bool:
            raise RuntimeError("no backend today")

    assert flush(Broken(), 1000) is False
    assert "no backend today" in caplog.text
    assert flush(object(), 1000) is True  # the API's own has nothing to export


def test_neither_a_cloud_sdk_nor_opentelemetrys_is_loaded() -> None:
    code = (
        "import sys, motetrace_host.functions;"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'azure', 'boto', 'aws')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
