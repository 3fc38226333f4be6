"""The three stages: names, kinds, parents, attributes and failures, as the real SDK records them."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from paho.mqtt.client import MQTTv5, MQTTv311
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties

from motetrace_host import stages
from motetrace_host.stages.incoming import user_properties
from tests.host.stages.stage_recorder import PARENT_ID, TRACE_ID, TRACEPARENT, FakeMessage, Recorder, publish_properties


class Info:
    def __init__(self, rc: MQTTErrorCode) -> None:
        self.rc = rc


class FakeClient:
    """paho's Client, as far as a republish uses it."""

    def __init__(self, protocol: int = MQTTv5, rc: MQTTErrorCode = MQTTErrorCode.MQTT_ERR_SUCCESS) -> None:
        self.protocol = protocol
        self.published: list[tuple[str, bytes, int, bool, list[tuple[str, str]]]] = []
        self._rc = rc

    def publish(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, properties: Properties | None = None
    ) -> Info:
        self.published.append((topic, payload, qos, retain, user_properties(properties)))
        return Info(self._rc)


def traced(**changes: Any) -> FakeMessage:
    return FakeMessage(**{"properties": publish_properties(("traceparent", TRACEPARENT))} | changes)


def own_traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-03"


def test_rule_evaluate_is_a_consumer_under_the_message_and_linked_to_it(recorder: Recorder) -> None:
    with stages.rule_evaluate(traced(), name="too-hot", action="republish", tracer=recorder.tracer) as rule:
        rule.matched = True
    span = recorder.only
    assert (span.name, span.kind) == ("rule_evaluate", SpanKind.CONSUMER)
    assert span.parent is not None and span.context is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE_ID, PARENT_ID)
    assert [f"{link.context.span_id:016x}" for link in span.links] == [PARENT_ID]
    assert dict(span.attributes or {}) == {
        "rule.name": "too-hot",
        "rule.action": "republish",
        "rule.matched": True,
        "trace.origin": "traceparent",
        "device.id": "sensor-0042",
        "messaging.system": "mqtt",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "devices/sensor-0042/telemetry",
        "messaging.destination.template": "devices/{device_id}/telemetry",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_link_only_begins_a_new_trace_that_links(recorder: Recorder) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", link_only=True, tracer=recorder.tracer):
        pass
    span = recorder.only
    assert span.parent is None and span.context is not None
    assert f"{span.context.trace_id:032x}" != TRACE_ID
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE_ID]


def test_a_retained_message_is_linked_only(recorder: Recorder) -> None:
    with stages.rule_evaluate(traced(retain=True), name="r", action="a", tracer=recorder.tracer):
        pass
    span = recorder.only
    assert span.parent is None and len(span.links) == 1
    assert (span.attributes or {})["trace.origin"] == "none:retained"
    assert (span.attributes or {})["mqtt.retained"] is True


def test_a_message_without_context_gets_a_root_even_inside_another_span(recorder: Recorder) -> None:
    with recorder.tracer.start_as_current_span("poll"):
        with stages.rule_evaluate(FakeMessage(), name="r", action="a", tracer=recorder.tracer):
            pass
    span = recorder.spans[0]
    assert span.parent is None and not span.links
    assert (span.attributes or {})["trace.origin"] == "none:absent"


def test_publish_injects_this_span_by_itself(recorder: Recorder) -> None:
    client = FakeClient()
    message = traced(payload=b'{"traceparent":"%s","temp":3.820}' % TRACEPARENT.encode())
    with stages.rule_evaluate(message, name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(client, "rules/store", qos=1)
        rule.publish(client, "rules/copy", b"other", properties=publish_properties(("unit", "C")))
    carried = ("traceparent", own_traceparent(recorder.only))
    assert client.published == [
        ("rules/store", b'{"temp":3.820}', 1, False, [carried]),
        ("rules/copy", b"other", 0, False, [("unit", "C"), carried]),
    ]
    assert (recorder.only.attributes or {})["rule.destination"] == "rules/copy"


def test_publish_from_another_thread_injects_too(recorder: Recorder) -> None:
    client = FakeClient()
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        worker = threading.Thread(target=rule.publish, args=(client, "rules/store"))
        worker.start()
        worker.join(10)
    assert client.published[0][4] == [("traceparent", own_traceparent(recorder.only))]


def test_publish_takes_baggage_that_was_added_on_the_way(recorder: Recorder) -> None:
    client = FakeClient()
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        token = attach(baggage.set_baggage("site", "lab"))
        rule.publish(client, "rules/store")
        detach(token)
    assert client.published[0][4] == [("traceparent", own_traceparent(recorder.only)), ("baggage", "site=lab")]


def test_publish_by_a_311_client_puts_the_context_into_the_json(recorder: Recorder) -> None:
    client = FakeClient(MQTTv311)
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(client, "rules/store")
    body = b'{"traceparent":"%s","temp":3.82}' % own_traceparent(recorder.only).encode()
    assert client.published == [("rules/store", body, 0, False, [])]


def test_publish_by_a_311_client_says_so_when_there_is_no_place_for_the_context(recorder: Recorder) -> None:
    client = FakeClient(MQTTv311)
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(client, "rules/store", b"\x00\x01")
    assert client.published == [("rules/store", b"\x00\x01", 0, False, [])]
    assert (recorder.only.attributes or {})["trace.inject"] == "none:payload_not_json_object"


@pytest.mark.parametrize(
    ("rc", "qos", "failed"),
    [
        (MQTTErrorCode.MQTT_ERR_QUEUE_SIZE, 1, True),
        (MQTTErrorCode.MQTT_ERR_NO_CONN, 0, True),
        (MQTTErrorCode.MQTT_ERR_NO_CONN, 1, False),
    ],
)
def test_a_message_that_the_client_drops_fails_the_span(
    recorder: Recorder, rc: MQTTErrorCode, qos: int, failed: bool
) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(FakeClient(rc=rc), "rules/store", qos=qos)
    span = recorder.only
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert (span.attributes or {}).get("error.type") == (rc.name if failed else None)
    assert not failed or "rules/store" in (span.status.description or "")


@pytest.mark.parametrize(
    ("act", "matched"),
    [
        (lambda rule: None, None),
        (lambda rule: setattr(rule, "matched", False), False),
        (lambda rule: rule.publish(FakeClient(), "t"), True),
        (lambda rule: setattr(rule, "matched", True), True),
    ],
    ids=["nothing", "set false", "published", "set"],
)
def test_matched_is_not_known_unless_set_or_acted_upon(
    recorder: Recorder, act: Callable[[stages.RuleEvaluate], object], matched: bool | None
) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        act(rule)
    assert (recorder.only.attributes or {}).get("rule.matched") is matched


def test_an_exception_fails_the_span_with_its_text_and_goes_on(recorder: Recorder) -> None:
    with pytest.raises(KeyError, match="temp"):
        with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer):
            raise KeyError("temp")
    span = recorder.only
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "'temp'")
    assert (span.attributes or {})["error.type"] == "KeyError"
    assert "rule.matched" not in (span.attributes or {})
    assert [event.name for event in span.events] == ["exception"]
    assert not trace.get_current_span().get_span_context().is_valid


def test_the_stages_of_one_reading_stand_one_under_the_other(recorder: Recorder) -> None:
    client = FakeClient()
    source = traced(properties=publish_properties(("traceparent", TRACEPARENT), ("baggage", "site=lab")))
    with stages.rule_evaluate(source, name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(client, "rules/store")
    handed_on = FakeMessage("rules/store", properties=publish_properties(*client.published[0][4]))
    with stages.transform_store(handed_on, name="clean", tracer=recorder.tracer) as transform:
        transform.fields_extracted = 3
        assert baggage.get_all() == {"site": "lab"}
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            pass
    rule_span, write_span, transform_span = recorder.spans
    assert {f"{span.context.trace_id:032x}" for span in recorder.spans if span.context} == {TRACE_ID}
    assert transform_span.parent is not None and write_span.parent is not None
    assert rule_span.context is not None and transform_span.context is not None
    assert transform_span.parent.span_id == rule_span.context.span_id
    assert write_span.parent.span_id == transform_span.context.span_id
    assert transform_span.parent.is_remote and not write_span.parent.is_remote


def test_transform_store_tells_function_cold_start_and_fields(recorder: Recorder) -> None:
    with stages.transform_store(
        traced(), name="clean", kind=SpanKind.SERVER, cold_start=True, tracer=recorder.tracer
    ) as transform:
        transform.fields_extracted = 3
    span = recorder.only
    assert (span.name, span.kind) == ("transform_store", SpanKind.SERVER)
    attributes = dict(span.attributes or {})
    assert attributes["function.name"] == attributes["faas.name"] == "clean"
    assert attributes["function.cold_start"] is attributes["faas.coldstart"] is True
    assert attributes["transform.fields_extracted"] == 3
    assert "trace.origin" not in attributes
    assert len(span.links) == 1


def test_transform_store_without_a_message_is_internal_and_under_the_current_span(recorder: Recorder) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer):
        with stages.transform_store(name="clean", tracer=recorder.tracer):
            pass
    inner, outer = recorder.spans
    assert inner.kind is SpanKind.INTERNAL and inner.parent is not None and outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert not {"function.cold_start", "transform.fields_extracted"} & set(inner.attributes or {})


def test_a_function_where_a_trace_begins_says_why(recorder: Recorder) -> None:
    with stages.transform_store(FakeMessage("rules/store"), name="clean", tracer=recorder.tracer):
        pass
    assert (recorder.only.attributes or {})["trace.origin"] == "none:absent"


def test_db_write_measures_its_own_time(recorder: Recorder) -> None:
    with stages.db_write(
        "influxdb", "write", namespace="plant", collection="sensor", server=("127.0.0.1", 8086), tracer=recorder.tracer
    ):
        sum(range(100_000))
    span = recorder.only
    attributes = dict(span.attributes or {})
    latency_ms = attributes.pop("db.write_latency_ms")
    assert isinstance(latency_ms, float) and span.start_time and span.end_time
    assert 0 < latency_ms <= (span.end_time - span.start_time) / 1e6 + 1
    assert (span.name, span.kind) == ("db_write", SpanKind.CLIENT)
    assert attributes == {
        "db.system": "influxdb",
        "db.system.name": "influxdb",
        "db.operation": "write",
        "db.operation.name": "write",
        "db.namespace": "plant",
        "db.collection.name": "sensor",
        "server.address": "127.0.0.1",
        "server.port": 8086,
        "db.write_latency_source": "client",
        "db.status": "ok",
    }


def test_a_refused_write_keeps_the_databases_words(recorder: Recorder) -> None:
    text = '{"error":"partial write: field type conflict"}'
    with stages.db_write("influxdb", "write", tracer=recorder.tracer) as write:
        write.fail(text, "400")
    attributes = recorder.only.attributes or {}
    assert (attributes["db.status"], attributes["error.type"]) == ("error", "400")
    assert (recorder.only.status.status_code, recorder.only.status.description) == (StatusCode.ERROR, text)


def test_an_exception_in_a_write_is_an_error_too(recorder: Recorder) -> None:
    with pytest.raises(ConnectionError):
        with stages.db_write("influxdb", "write", tracer=recorder.tracer):
            raise ConnectionError
    attributes = recorder.only.attributes or {}
    assert (attributes["db.status"], attributes["error.type"]) == ("error", "ConnectionError")
    assert recorder.only.status.description == "ConnectionError"


def test_hostile_text_in_an_error_is_cut_and_stays_utf8(recorder: Recorder) -> None:
    with stages.db_write("influxdb", "write", tracer=recorder.tracer) as write:
        write.fail("\udc80" + "x" * 10_000, "400")
    description = recorder.only.status.description or ""
    assert len(description) == 4096 and description.startswith("?x")


@pytest.mark.parametrize(
    ("use", "error", "told"),
    [
        (
            lambda: stages.rule_evaluate(traced(), name="", action="a"),
            ValueError,
            "rule name has 0 characters.*1..4096",
        ),
        (lambda: stages.rule_evaluate(traced(), name="r", action=7), TypeError, "rule action is 7"),  # type: ignore[arg-type]
        (lambda: stages.transform_store(name="f", cold_start=1), TypeError, "True or False"),  # type: ignore[arg-type]
        (lambda: stages.transform_store(name="f", kind=SpanKind.CLIENT), ValueError, "CLIENT.*INTERNAL"),
        (lambda: stages.db_write("influxdb", "write", server=("h", 70000)), ValueError, "70000.*0..65535"),
        (lambda: stages.db_write("influxdb", "write", namespace=b"x"), TypeError, "must be a str"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_refused_before_the_work_begins(
    use: Callable[[], object], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        use()


@pytest.mark.parametrize("wrong", [-1, 2**63, True, 1.5, "3"])
def test_a_wrong_count_of_fields_is_refused(recorder: Recorder, wrong: object) -> None:
    with stages.transform_store(name="f", tracer=recorder.tracer) as transform:
        with pytest.raises((TypeError, ValueError), match="fields_extracted"):
            transform.fields_extracted = wrong  # type: ignore[assignment]


@pytest.mark.parametrize("wrong", [0, "yes", None])
def test_matched_takes_only_a_bool(recorder: Recorder, wrong: object) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        with pytest.raises(TypeError, match="matched"):
            rule.matched = wrong  # type: ignore[assignment]


def test_a_context_passes_through_where_no_sdk_is_set_up(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    with (
        caplog.at_level(logging.WARNING),
        stages.rule_evaluate(traced(), name="r", action="a", tracer=trace.NoOpTracer()) as rule,
    ):
        rule.publish(client, "rules/store")
    assert client.published[0][4] == [("traceparent", TRACEPARENT)]


def test_a_context_that_is_not_sampled_is_handed_on_unsampled(recorder: Recorder) -> None:
    client = FakeClient()
    message = FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT[:-2] + "02")))
    with stages.rule_evaluate(message, name="r", action="a", tracer=recorder.tracer) as rule:
        rule.publish(client, "rules/store")
    ((_, text),) = client.published[0][4]
    assert (text[3:35], text[-2:]) == (TRACE_ID, "02")
    assert recorder.spans == ()


def test_one_stage_object_is_for_one_message(recorder: Recorder) -> None:
    with stages.rule_evaluate(traced(), name="r", action="a", tracer=recorder.tracer) as rule:
        with pytest.raises(RuntimeError, match="new one"), rule:
            pass


def test_the_stages_need_no_sdk() -> None:
    code = (
        "import sys, motetrace_host.stages; sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
