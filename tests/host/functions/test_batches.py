"""Batches: one span that links to every message, and a span for each message where it is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.functions import invocation, traced_lambda
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
_derived = derive(KEY, "acme", "sensor-0042", bytes.fromhex("0123456789"), 0x11)
DERIVED = (_derived.trace_id.hex(), _derived.span_id.hex())


@pytest.mark.parametrize(
    ("name", "expected", "system", "destination"),
    [
        ("aws_sqs", [DEVICE, SECOND, DERIVED], "aws_sqs", "readings"),
        ("aws_kinesis", [DEVICE, SECOND], "aws_kinesis", "readings"),
        ("aws_sns", [DEVICE], "aws.sns", "alarms"),
    ],
)
def test_the_span_of_a_batch_links_to_its_messages_and_follows_none(
    recorder: Recorder, name: str, expected: list[tuple[str, str]], system: str, destination: str
) -> None:
    batch = event(name)
    traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)(batch, LambdaContext())
    span = recorder.only
    assert (span.name, span.kind, span.parent) == ("transform_store", SpanKind.SERVER, None)
    assert links(span) == expected
    told = attributes(span)
    assert (told["faas.trigger"], told["messaging.system"]) == ("pubsub", system)
    assert told["messaging.destination.name"] == destination
    assert told["messaging.batch.message_count"] == len(batch["Records"])
    assert "trace.origin" not in told


def test_a_batch_of_which_nothing_carries_a_context_says_why(recorder: Recorder) -> None:
    batch = event("aws_sqs")
    batch["Records"] = batch["Records"][2:3]
    traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)(batch, LambdaContext())
    assert attributes(recorder.only)["trace.origin"] == "none:absent"


def test_each_message_gets_a_span_in_its_own_trace_that_links_to_the_batch(recorder: Recorder) -> None:
    payloads: list[bytes] = []

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        for record in invocation().records:
            with record.transform_store() as transform:
                payloads.append(record.payload)
                transform.fields_extracted = len(payloads)

    batch = event("aws_sqs")
    handler(batch, LambdaContext())
    *each, whole = recorder.spans
    assert [span.parent and ids(span.parent) for span in each] == [DEVICE, SECOND, None, DERIVED, None]
    assert all(ids(whole) in links(span) for span in each)
    assert [attributes(span).get("trace.origin") for span in each] == [None, None, "none:absent", None, "none:absent"]
    assert [attributes(span)["transform.fields_extracted"] for span in each] == [1, 2, 3, 4, 5]
    assert [attributes(span)["messaging.message.id"] for span in each] == [
        record["messageId"] for record in batch["Records"]
    ]
    assert {(span.name, span.kind) for span in each} == {("transform_store", SpanKind.INTERNAL)}
    assert {attributes(span)["messaging.system"] for span in each} == {"aws_sqs"}
    assert [attributes(span).get("device.id") for span in each] == [
        "sensor-0042", None, "sensor-0044", "sensor-0042", None,
    ]  # fmt: skip
    assert "messaging.batch.message_count" not in attributes(each[0])
    assert payloads[1:] == [
        b'{"temp": 4}',
        b'{"temp": 5, "topic": "devices/sensor-0044/telemetry"}',
        b'{"temp": 6, "seqref": ["0123456789-00000011-03"], "topic": "devices/sensor-0042/telemetry"}',
        b"plain text",
    ]


def test_kinesis_payloads_are_decoded_and_freed_of_our_members(recorder: Recorder) -> None:
    seen: list[tuple[str, bytes, Any]] = []

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        seen.extend((record.id, record.payload, record.source) for record in invocation().records)

    batch = event("aws_kinesis")
    handler(batch, LambdaContext())
    assert [payload for _, payload, _ in seen][::2] == [b'{"temp":3.82}', b"\x00\xff\x07"]
    assert [number for number, _, _ in seen] == [each["kinesis"]["sequenceNumber"] for each in batch["Records"]]
    assert all(source is given for (_, _, source), given in zip(seen, batch["Records"], strict=True))


def test_link_only_spans_stay_in_the_batchs_trace(recorder: Recorder) -> None:
    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> None:
        for record in invocation().records[:2]:
            with record.transform_store(name="one", link_only=True):
                pass

    handler(event("aws_sqs"), LambdaContext())
    first, second, whole = recorder.spans
    assert [span.parent and ids(span.parent) for span in (first, second)] == [ids(whole)] * 2
    assert (links(first), links(second)) == ([DEVICE], [SECOND])
    assert attributes(first)["function.name"] == "one"


def test_partial_failures_pass_through_untouched_and_are_counted(recorder: Recorder) -> None:
    answer: dict[str, Any] = {"batchItemFailures": []}

    @traced_lambda(tracer_provider=recorder.provider)
    def handler(event: Any, context: Any) -> Any:
        for record in invocation().records:
            try:
                with record.transform_store():
                    if record.payload == b"plain text":
                        raise ValueError("no JSON")
            except ValueError:
                answer["batchItemFailures"].append({"itemIdentifier": record.id})
        return answer

    batch = event("aws_sqs")
    assert handler(batch, LambdaContext()) is answer
    assert answer == {"batchItemFailures": [{"itemIdentifier": batch["Records"][4]["messageId"]}]}
    *_, failed, whole = recorder.spans
    assert (failed.status.status_code, attributes(failed)["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert whole.status.status_code is StatusCode.UNSET
    assert attributes(whole)["function.batch_item_failures"] == 1


def test_a_batch_links_to_128_messages_at_most_and_counts_all(recorder: Recorder) -> None:
    batch = event("aws_kinesis")
    batch["Records"] = batch["Records"][:1] * 500
    traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)(batch, LambdaContext())
    assert len(recorder.only.links) == 128
    assert attributes(recorder.only)["messaging.batch.message_count"] == 500


def test_inside_another_instrumentations_span_a_batch_is_its_child(recorder: Recorder) -> None:
    with recorder.tracer.start_as_current_span("lambda") as outer:
        traced_lambda(tracer_provider=recorder.provider)(lambda *_: None)(event("aws_sqs"), LambdaContext())
    parent = recorder.spans[0].parent
    assert parent is not None and parent.span_id == outer.get_span_context().span_id
