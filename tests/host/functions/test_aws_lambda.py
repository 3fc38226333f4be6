"""`traced_lambda` on recorded events: parents, links, attributes, results, exceptions."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

from motetrace_host import stages
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.functions import RuleMembers, invocation, traced_lambda
from tests.host.functions.recorded import (
    PARENT_ID,
    SECOND_PARENT_ID,
    SECOND_TRACE_ID,
    TRACE_ID,
    LambdaContext,
    attributes,
    event,
    ids,
    links,
)
from tests.host.stages.stage_recorder import KEY, Recorder

DEVICE = (TRACE_ID, PARENT_ID)
SECOND = (SECOND_TRACE_ID, SECOND_PARENT_ID)


def derived() -> tuple[str, str]:
    trace_id, span_id = derive(KEY, "acme", "sensor-0042", bytes.fromhex("0123456789"), 0x11)
    return trace_id.hex(), span_id.hex()


def run(recorder: Recorder, name: str, **options: Any) -> dict[str, Any]:
    """Invoke a handler with a recorded event and return its span's attributes."""
    handler = traced_lambda(tracer_provider=recorder.provider, **options)(lambda event, context: event)
    given = event(name)
    assert handler(given, LambdaContext()) is given
    return attributes(recorder.only)


def test_the_decorator_is_usable_bare_and_keeps_the_handlers_face() -> None:
    @traced_lambda
    def handler(event: dict[str, Any], context: Any) -> str:
        """Cleans."""
        return f"{event} {context}"

    assert handler.__name__ == "handler" and handler.__doc__ == "Cleans."
    assert list(inspect.signature(handler).parameters) == ["event", "context"]
    assert handler({"a": 1}, None) == "{'a': 1} None"


@pytest.mark.parametrize(
    "name",
    [
        "aws_iot_user_property",
        "aws_iot_first_user_property",
        "aws_iot_all_user_properties",
        "aws_iot_payload_member",
        "aws_iot_binary",
        "aws_iot_binary_json",
        "aws_http_v1",
        "aws_http_v2",
    ],
)
def test_the_span_continues_what_the_event_carries_and_links_to_it(recorder: Recorder, name: str) -> None:
    run(recorder, name)
    span = recorder.only
    assert (span.name, span.kind) == ("transform_store", SpanKind.SERVER)
    assert span.parent is not None and span.parent.is_remote
    assert ids(span.parent) == DEVICE
    assert links(span) == [DEVICE]
    assert span.status.status_code is StatusCode.UNSET


def test_the_span_says_what_the_function_is_and_what_called_it(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_LAMBDA_LOG_STREAM_NAME", "2025/01/01/[7]58419525")
    assert run(recorder, "aws_iot_user_property") == {
        "function.name": "clean",
        "faas.name": "clean",
        "function.cold_start": True,
        "faas.coldstart": True,
        "faas.trigger": "pubsub",
        "faas.version": "7",
        "faas.instance": "2025/01/01/[7]58419525",
        "faas.invocation_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "eu-central-1",
        "cloud.account.id": "123456789012",
        "cloud.resource_id": "arn:aws:lambda:eu-central-1:123456789012:function:clean",
        "aws.lambda.invoked_arn": "arn:aws:lambda:eu-central-1:123456789012:function:clean",
        "device.id": "sensor-0042",
        "messaging.system": "mqtt",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "devices/sensor-0042/telemetry",
        "messaging.destination.template": "devices/{device_id}/telemetry",
    }


def test_an_alias_is_replaced_by_the_version_that_ran(recorder: Recorder) -> None:
    context = LambdaContext(invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:clean:prod")
    traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)({}, context)
    told = attributes(recorder.only)
    assert told["cloud.resource_id"] == "arn:aws:lambda:eu-central-1:123456789012:function:clean:7"
    assert told["aws.lambda.invoked_arn"].endswith(":prod")


def test_baggage_and_tracestate_of_the_event_are_the_handlers(recorder: Recorder) -> None:
    seen: list[Any] = []

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        fields = dict(stages.inject().UserProperty)
        seen.append((dict(baggage.get_all()), fields.get("tracestate"), fields.get("baggage")))

    handler(event("aws_iot_user_property"), LambdaContext())
    handler(event("aws_iot_payload_member"), LambdaContext())
    assert seen == [({"site": "lab"}, None, "site=lab;unit=1"), ({}, "mt=a:1f4", None)]


@pytest.mark.parametrize("name", ["aws_iot_seqref_topic", "aws_iot_seqref_device_id"])
def test_a_seqref_is_derived_with_the_key_where_the_rule_says_which_device_it_was(
    recorder: Recorder, name: str
) -> None:
    told = run(recorder, name)
    parent = recorder.only.parent
    assert parent is not None and ids(parent) == derived()
    assert told["device.id"] == "sensor-0042"


def test_a_seqref_without_a_device_or_a_key_begins_a_trace_and_says_why(recorder: Recorder) -> None:
    handler = traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)
    handler({"seqref": "0123456789-00000011-03"}, LambdaContext())
    stages.configure(tenant="acme")
    handler(event("aws_iot_seqref_topic"), LambdaContext())
    origins = [attributes(span)["trace.origin"] for span in recorder.spans]
    assert origins == ["none:topic_without_device", "none:seqref_without_key"]


def test_a_rules_own_template_and_names_find_the_device(recorder: Recorder) -> None:
    members = RuleMembers(topic="mqtt_topic", device_id=None, template="plant/+/{device_id}")
    handler = traced_lambda(members=members, tracer_provider=recorder.provider)(lambda *_: None)
    handler({"mqtt_topic": "plant/7/sensor-0042", "seqref": ["0123456789-00000011-03"]}, LambdaContext())
    handler({"topic": "plant/7/x", "device_id": "sensor-0042", "seqref": "0123456789-00000011-03"}, LambdaContext())
    first, second = recorder.spans
    assert first.parent is not None and ids(first.parent) == derived()
    assert attributes(first)["messaging.destination.template"] == "plant/+/{device_id}"
    assert attributes(first)["messaging.destination.name"] == "plant/7/sensor-0042"
    assert attributes(second)["trace.origin"] == "none:topic_without_device"


@pytest.mark.parametrize(
    ("name", "origin", "trigger"),
    [
        ("aws_iot_forgotten", "none:absent", "pubsub"),
        ("aws_iot_bare_seq", "none:seq_without_boot", "pubsub"),
        ("aws_iot_two_user_properties", "none:traceparent_repeated", "pubsub"),
    ],
)
def test_what_a_rule_lost_is_named(recorder: Recorder, name: str, origin: str, trigger: str) -> None:
    told = run(recorder, name)
    assert (told["trace.origin"], told["faas.trigger"]) == (origin, trigger)
    assert recorder.only.parent is None and not recorder.only.links


def test_the_payload_is_the_binary_member_or_the_event_without_what_we_put_in_front(recorder: Recorder) -> None:
    payloads: list[bytes] = []

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        payloads.append(invocation().payload)

    for name in ("aws_iot_binary", "aws_iot_binary_json", "aws_iot_payload_member", "aws_iot_bare_seq"):
        handler(event(name), LambdaContext())
    assert payloads == [
        b"\x00\xff\x01\x02",
        b'{"temp":3.82}',
        b'{"temp":3.82}',
        b'{"seq":17,"temp":3.82,"topic":"devices/sensor-0042/telemetry"}',
    ]


def test_fields_extracted_is_the_handlers_to_set_and_stages_inside_stand_under_the_span(recorder: Recorder) -> None:
    @traced_lambda(name="clean-2", tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        invocation().fields_extracted = 3
        with stages.db_write("timestream", "write", tracer=recorder.tracer):
            pass

    handler(event("aws_iot_user_property"), LambdaContext())
    write, function = recorder.spans
    assert write.parent is not None and ids(write.parent) == ids(function)
    told = attributes(function)
    assert told["transform.fields_extracted"] == 3
    assert (told["function.name"], told["faas.name"]) == ("clean-2", "clean")


def test_link_only_begins_a_trace_of_its_own(recorder: Recorder) -> None:
    run(recorder, "aws_iot_user_property", link_only=True)
    assert recorder.only.parent is None and ids(recorder.only)[0] != TRACE_ID
    assert links(recorder.only) == [DEVICE]


def test_an_exception_marks_the_span_and_goes_on_unchanged(recorder: Recorder) -> None:
    problem = KeyError("temp")

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        raise problem

    with pytest.raises(KeyError) as caught:
        handler(event("aws_iot_user_property"), LambdaContext())
    assert caught.value is problem
    span = recorder.only
    assert (span.status.status_code, attributes(span)["error.type"]) == (StatusCode.ERROR, "KeyError")
    assert [each.name for each in span.events] == ["exception"]
    assert not trace.get_current_span().get_span_context().is_valid
    with pytest.raises(RuntimeError, match="decorate the handler"):
        invocation()


def test_an_http_event_follows_the_http_names_and_a_5xx_answer_is_an_error(recorder: Recorder) -> None:
    answers = iter([{"statusCode": 200}, {"statusCode": "503"}, "text"])
    handler = traced_lambda(tracer_provider=recorder.provider)(lambda *_: next(answers))
    for name in ("aws_http_v1", "aws_http_v2", "aws_http_v2"):
        handler(event(name), LambdaContext())
    first, second, third = recorder.spans
    for span in recorder.spans:
        told = attributes(span)
        assert (told["faas.trigger"], told["http.request.method"]) == ("http", "POST")
        assert told["url.path"] == "/devices/sensor-0042/readings"
        assert told["http.route"] == "/devices/{id}/readings"
        assert not [name for name in told if name.startswith("messaging.")]
    assert attributes(first)["http.response.status_code"] == 200
    assert first.status.status_code is third.status.status_code is StatusCode.UNSET
    assert (second.status.status_code, attributes(second)["error.type"]) == (StatusCode.ERROR, "503")


def test_two_traceparent_headers_are_none(recorder: Recorder) -> None:
    request = event("aws_http_v1")
    request["multiValueHeaders"]["Traceparent"] *= 2
    traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)(request, LambdaContext())
    assert recorder.only.parent is None
    assert attributes(recorder.only)["trace.origin"] == "none:traceparent_repeated"


@pytest.mark.parametrize(("name", "trigger"), [("aws_schedule", "timer"), ("aws_dynamodb", "datasource")])
def test_events_without_messages_are_roots_under_their_trigger(recorder: Recorder, name: str, trigger: str) -> None:
    told = run(recorder, name)
    assert told["faas.trigger"] == trigger
    assert recorder.only.parent is None and not recorder.only.links
    assert not [each for each in told if each.startswith("messaging.")]


HOSTILE = [
    None, 7, "text", [], {}, {"Records": []}, {"Records": [7]}, {"Records": [{}]}, {"Records": {"a": 1}},
    {"Records": [{"eventSource": ["aws:sqs"]}]}, {"Records": [{"eventSource": "aws:sqs"}]},
    {"Records": [{"eventSource": "aws:sqs", "body": 7, "messageAttributes": [1], "messageId": 5}]},
    {"Records": [{"eventSource": "aws:sqs", "body": "{" * 5000, "eventSourceARN": ":"}]},
    {"Records": [{"eventSource": "aws:sqs", "messageAttributes": {"traceparent": 7, "x": {"stringValue": 1}}}]},
    {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "%%%"}}, {"kinesis": 7}]},
    {"Records": [{"EventSource": "aws:sns", "Sns": {"MessageAttributes": {"x": None}}}]},
    {"requestContext": {}, "headers": None}, {"requestContext": {"http": 7}, "headers": {7: "x", "traceparent": 7}},
    {"requestContext": {}, "headers": [], "multiValueHeaders": {"traceparent": [None, {}]}},
    {"traceparent": {"a": 1}, "tracestate": 7, "baggage": [None], "topic": 7, "device_id": [], "seq": True},
    {"traceparent": "\ud800", "topic": "\ud800", "device_id": "\ud800", "seqref": "0123456789-00000011-03"},
    {"user_properties": [7, {"traceparent": 7}, {"traceparent": None}]}, {"data": "\u00fc"}, {"seq": 2**80},
    {"traceparent": ["x" * 100_000]}, {"baggage": ",;=" * 20_000, "tracestate": ",=" * 20_000},
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_no_event_keeps_the_handler_from_its_work(recorder: Recorder, hostile: Any) -> None:
    handler = traced_lambda(tracer_provider=recorder.provider)(lambda event, context: (event, context))
    assert handler(hostile, None) == (hostile, None)
    assert recorder.only.name == "transform_store" and recorder.only.parent is None


def test_without_an_sdk_the_handler_runs_and_the_context_is_passed_on() -> None:
    carried: list[Any] = []

    @traced_lambda
    def handler(event: Any, context: Any) -> str:
        carried.append(dict(stages.inject().UserProperty)["traceparent"])
        return "done"

    assert handler(event("aws_iot_user_property"), LambdaContext()) == "done"
    assert carried == [f"00-{TRACE_ID}-{PARENT_ID}-03"]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"name": ""}, ValueError, "function name has 0"),
        ({"name": 7}, TypeError, "function name is 7"),
        ({"flush_ms": -1}, ValueError, r"flush_ms is -1.*0\.\.60000"),
        ({"flush_ms": 1.5}, TypeError, "flush_ms"),
        ({"link_only": 1}, TypeError, "link_only"),
    ],
)
def test_a_wrong_option_is_refused_at_import(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        traced_lambda(**options)


def test_a_wrong_template_is_refused_at_import() -> None:
    with pytest.raises(ValueError, match="device_id"):
        RuleMembers(template="devices/telemetry")
