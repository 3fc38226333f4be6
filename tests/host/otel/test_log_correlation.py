"""Log lines and the spans they belong to: real logging, real structlog, real stages, threads and queues."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import logging.handlers
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from paho.mqtt.client import Client

from motetrace_host import stages
from motetrace_host.otel.log_correlation import TraceContextFilter, add_trace_context, trace_context
from tests.host.otel.clients import connected, spans_named
from tests.host.stages.stage_recorder import PARENT_ID, TRACE_ID, TRACEPARENT, FakeMessage, Recorder, publish_properties
from tests.work import calls

FIELDS = ("trace_id", "span_id", "trace_flags", "device.id", "device.seq")
MESSAGE = FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT)))


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, Any]]:
        return [{name: vars(record)[name] for name in FIELDS if name in vars(record)} for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    handler.addFilter(TraceContextFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def own(span: Any, **more: Any) -> dict[str, Any]:
    ids = span.get_span_context()
    return {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}", "trace_flags": "03"} | more


def test_a_record_says_which_span_it_was_logged_in_and_nothing_outside_of_one(kept: Kept, recorder: Recorder) -> None:
    log = logging.getLogger("plant.cleaner")
    log.warning("before")
    with recorder.tracer.start_as_current_span("outer") as outer:
        log.warning("in outer")
        with recorder.tracer.start_as_current_span("inner") as inner:
            log.warning("in inner %d", 7)
        log.warning("in outer again")
    log.warning("after")
    assert kept.fields == [{}, own(outer), own(inner), own(outer), {}]
    assert kept.records[2].getMessage() == "in inner 7"


def test_inside_the_stages_a_record_names_the_device_and_its_message(kept: Kept, recorder: Recorder) -> None:
    device = {"device.id": "sensor-0042", "device.seq": 0x11}
    with stages.rule_evaluate(MESSAGE, name="r", action="a", tracer=recorder.tracer) as rule:
        logging.getLogger("a").warning("rule")
        with stages.db_write("influxdb", "write", tracer=recorder.tracer) as write:
            logging.getLogger("b").warning("write")
    with stages.transform_store(FakeMessage("rules/store"), name="f", tracer=recorder.tracer) as transform:
        logging.getLogger("c").warning("no device is known here")
    assert kept.fields == [own(rule.span, **device), own(write.span, **device), own(transform.span)]
    assert kept.fields[0]["trace_id"] == TRACE_ID != kept.fields[0]["span_id"]


def test_a_message_inside_another_ones_stage_does_not_inherit_its_device(kept: Kept, recorder: Recorder) -> None:
    with stages.rule_evaluate(MESSAGE, name="r", action="a", tracer=recorder.tracer):
        with stages.transform_store(FakeMessage("elsewhere"), name="f", tracer=recorder.tracer):
            logging.getLogger("a").warning("inner")
        logging.getLogger("a").warning("outer")
    assert [fields.get("device.id") for fields in kept.fields] == [None, "sensor-0042"]


def test_a_span_that_is_not_sampled_is_named_with_its_flags(kept: Kept) -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("t")
    with tracer.start_as_current_span("quiet"):
        logging.getLogger("a").warning("unsampled")
    assert len(kept.fields[0]["trace_id"]) == 32
    assert int(kept.fields[0]["trace_flags"], 16) & 1 == 0


def test_what_is_passed_on_without_an_sdk_is_named_too(kept: Kept) -> None:
    with stages.rule_evaluate(MESSAGE, name="r", action="a"):
        logging.getLogger("a").warning("no SDK")
    assert kept.fields[0]["trace_id"] == TRACE_ID and kept.fields[0]["span_id"] == PARENT_ID


def test_each_thread_is_named_after_its_own_span(kept: Kept, recorder: Recorder) -> None:
    expected: dict[str, str] = {}
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        with recorder.tracer.start_as_current_span(name) as span:
            expected[name] = f"{span.get_span_context().span_id:016x}"
            barrier.wait(10)
            logging.getLogger("worker").warning("%s", name)

    threads = [threading.Thread(target=work, args=(f"t{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {record.getMessage(): vars(record)["span_id"] for record in kept.records} == expected
    with recorder.tracer.start_as_current_span("handed over") as span:
        carried = contextvars.copy_context()
        thread = threading.Thread(target=carried.run, args=(logging.getLogger("worker").warning, "handed over"))
        thread.start()
        thread.join(10)
    assert kept.fields[-1] == own(span)


def test_through_a_queue_the_fields_are_those_of_the_logging_thread(kept: Kept, recorder: Recorder) -> None:
    records: queue.Queue[Any] = queue.Queue()
    sender, receiver = logging.handlers.QueueHandler(records), Kept()
    sender.addFilter(TraceContextFilter())
    log = logging.getLogger("tests.queued")
    log.addHandler(sender)
    listener = logging.handlers.QueueListener(records, receiver)
    listener.start()
    with recorder.tracer.start_as_current_span("work") as span:
        log.warning("queued")
    listener.stop()
    log.removeHandler(sender)
    assert receiver.fields == [own(span)]


def test_what_the_application_set_itself_stays(kept: Kept, recorder: Recorder) -> None:
    with recorder.tracer.start_as_current_span("work"):
        logging.getLogger("a").warning("mine", extra={"trace_id": "mine"})
        assert add_trace_context(None, "info", {"event": "x", "span_id": "mine"})["span_id"] == "mine"
    assert kept.fields[0]["trace_id"] == "mine"


def test_the_documented_format_prints_a_dash_outside_of_spans(recorder: Recorder) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(TraceContextFilter())
    defaults = {"trace_id": "-", "device.id": "-"}
    handler.setFormatter(logging.Formatter("%(trace_id)s %(device.id)s %(message)s", defaults=defaults))
    log = logging.getLogger("tests.printed")
    log.addHandler(handler)
    log.warning("before")
    with stages.rule_evaluate(MESSAGE, name="r", action="a", tracer=recorder.tracer):
        log.warning("inside")
    log.removeHandler(handler)
    assert out.getvalue() == f"- - before\n{TRACE_ID} sensor-0042 inside\n"


@pytest.fixture
def structured() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    out = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[add_trace_context, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    structlog.configure(**before)


def test_structlog_lines_carry_the_same_fields(
    structured: Callable[[], list[dict[str, Any]]], recorder: Recorder
) -> None:
    log = structlog.get_logger().bind(app="plant")
    log.info("before")
    with stages.rule_evaluate(MESSAGE, name="r", action="a", tracer=recorder.tracer) as rule:
        log.info("inside", value=1)
    first, second = structured()
    assert first == {"app": "plant", "event": "before"}
    device = {"device.id": "sensor-0042", "device.seq": 0x11}
    assert second == {"app": "plant", "event": "inside", "value": 1} | own(rule.span, **device)


def test_an_instrumented_callback_over_a_real_broker_is_named(
    mosquitto: Any, instrument: Callable[..., Any], recorder: Recorder, kept: Kept
) -> None:
    device_publish = Client.publish  # the device is no part of the instrumented program
    instrument()
    topic = "devices/sensor-0042/telemetry"
    with connected(mosquitto, topic, callback=lambda *_: logging.getLogger("callback").warning("processed")) as (
        client,
        receive,
    ):
        device_publish(client, topic, b"x", 1, properties=publish_properties(("traceparent", TRACEPARENT)))
        receive()
    (processed,) = spans_named(recorder, "process", 1)
    assert processed.context is not None
    ours = [fields for record, fields in zip(kept.records, kept.fields, strict=True) if record.name == "callback"]
    assert ours[0]["span_id"] == f"{processed.context.span_id:016x}"
    assert (ours[0]["trace_id"], ours[0]["device.id"], ours[0]["device.seq"]) == (TRACE_ID, "sensor-0042", 0x11)


def test_outside_of_spans_it_costs_next_to_nothing_and_adds_nothing() -> None:
    record = logging.LogRecord("a", logging.WARNING, "f", 1, "text", (), None)
    before = dict(vars(record))
    plain, ours = logging.Filter(), TraceContextFilter()

    ours.filter(record)  # what is looked up once
    assert calls(lambda: ours.filter(record)) - calls(lambda: plain.filter(record)) <= 20
    assert dict(vars(record)) == before
    assert trace_context() == {}
