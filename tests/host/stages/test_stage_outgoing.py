"""inject: what a republished message carries."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, set_span_in_context

from motetrace_host import stages
from motetrace_host.stages.incoming import user_properties
from tests.host.stages.stage_recorder import TRACEPARENT, FakeMessage, Recorder, publish_properties

MINE = f"00-{'1' * 32}-{'2' * 16}-03"
MY_CONTEXT = set_span_in_context(
    NonRecordingSpan(SpanContext(int("1" * 32, 16), int("2" * 16, 16), False, TraceFlags(3))), Context()
)


def test_inject_makes_properties_when_there_are_none() -> None:
    assert user_properties(stages.inject(None, MY_CONTEXT)) == [("traceparent", MINE)]


def test_inject_takes_the_current_span_by_default(recorder: Recorder) -> None:
    with recorder.tracer.start_as_current_span("work") as span:
        ((name, text),) = user_properties(stages.inject())
    own = span.get_span_context()
    assert (name, text[3:52]) == ("traceparent", f"{own.trace_id:032x}-{own.span_id:016x}")


def test_inject_replaces_old_contexts_and_keeps_other_properties_in_order() -> None:
    properties = publish_properties(
        ("unit", "C"),
        ("traceparent", TRACEPARENT),
        ("seqref", "x"),
        ("tracestate", "a=b"),
        ("unit", "F"),
        ("baggage", "c=d"),
    )
    properties.ContentType = "application/json"
    same = stages.inject(properties, otel_baggage.set_baggage("site", "a b", MY_CONTEXT))
    assert same is properties
    assert user_properties(same) == [("unit", "C"), ("unit", "F"), ("traceparent", MINE), ("baggage", "site=a%20b")]
    assert same.ContentType == "application/json"


def test_inject_without_a_span_lets_a_context_pass_through() -> None:
    properties = publish_properties(("traceparent", TRACEPARENT), ("tracestate", "a=b"))
    assert user_properties(stages.inject(properties, Context())) == [
        ("traceparent", TRACEPARENT),
        ("tracestate", "a=b"),
    ]


def test_tracestate_and_baggage_that_nobody_changed_go_on_byte_for_byte() -> None:
    carried = (
        ("traceparent", TRACEPARENT),
        ("tracestate", "0rojo=1, mt=a:1f4"),
        ("baggage", "site=a%20b;secret=1,n=1+1"),
    )
    context = stages.extract(FakeMessage(properties=publish_properties(*carried)))
    out = dict(user_properties(stages.inject(None, context)))
    assert out["traceparent"] == TRACEPARENT
    assert out["tracestate"].replace(" ", "") == "0rojo=1,mt=a:1f4"
    assert out["baggage"] == "site=a%20b;secret=1,n=1+1"


def test_added_baggage_stands_behind_what_came() -> None:
    carried = (("traceparent", TRACEPARENT), ("baggage", "site=a%20b;secret=1"))
    context = otel_baggage.set_baggage("n", "1+1", stages.extract(FakeMessage(properties=publish_properties(*carried))))
    assert dict(user_properties(stages.inject(None, context)))["baggage"] == "site=a%20b;secret=1,n=1+1"


def test_another_traces_tracestate_is_not_borrowed() -> None:
    carried = (("traceparent", TRACEPARENT), ("tracestate", "a=b"))
    context = stages.extract(FakeMessage(properties=publish_properties(*carried)))
    context = set_span_in_context(get_current_span(MY_CONTEXT), context)
    assert user_properties(stages.inject(None, context)) == [("traceparent", MINE)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"temp":3.82}', b'{"traceparent":"%s","temp":3.82}'),
        (b" {}", b'{"traceparent":"%s"}'),
        (b'{"traceparent":"old","temp":3.820}', b'{"traceparent":"%s","temp":3.820}'),
        (b'{"temp":3.820,"traceparent":"old"}', b'{"traceparent":"%s","temp":3.820}'),
        (b'{"baggage":7}', b'{"traceparent":"%s"}'),
    ],
)
def test_inject_json_puts_the_context_first_and_keeps_the_rest(before: bytes, after: bytes) -> None:
    assert stages.inject_json(before, MY_CONTEXT) == after % MINE.encode()


@pytest.mark.parametrize("payload", [b"3.82", b"[1]", b"", b"\xff", b"{"])
def test_inject_json_refuses_what_is_no_object(payload: bytes) -> None:
    with pytest.raises(ValueError, match="MQTT 5"):
        stages.inject_json(payload, MY_CONTEXT)


def test_inject_json_without_a_span_changes_nothing() -> None:
    assert stages.inject_json(b"\xff", Context()) == b"\xff"


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3),
        max_size=5,
    )
)
def test_what_inject_json_writes_extract_reads(members: dict[str, object]) -> None:
    out = stages.inject_json(json.dumps(members).encode(), MY_CONTEXT)
    rest = {
        name: value for name, value in members.items() if name not in ("traceparent", "tracestate", "baggage", "seqref")
    }
    assert {**json.loads(out), "traceparent": None} == {**rest, "traceparent": None}
    span = get_current_span(stages.extract(FakeMessage(payload=out))).get_span_context()
    assert span == SpanContext(int("1" * 32, 16), int("2" * 16, 16), True, TraceFlags(3))
