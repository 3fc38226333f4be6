"""Promises of otel/propagator.py and otel/user_properties.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from motetrace_host import stages
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.otel.propagator import MotetracePropagator, with_topic
from motetrace_host.otel.user_properties import GETTER, SETTER
from tests.host.stages.stage_recorder import KEY, TRACEPARENT, Recorder

VECTORS = Path(__file__).parents[2] / "vectors"
TRACEPARENTS = json.loads((VECTORS / "traceparent.json").read_text())["cases"]
TRACESTATES = json.loads((VECTORS / "tracestate.json").read_text())["cases"]
OURS = MotetracePropagator()
SDK = TraceContextTextMapPropagator()


def remote(carrier: Any, context: Context | None = None, **more: Any) -> Any:
    return get_current_span(OURS.extract(carrier, context, **more)).get_span_context()


@pytest.mark.parametrize("case", TRACEPARENTS, ids=[case["name"] for case in TRACEPARENTS])
def test_every_traceparent_vector_is_continued_or_refused_as_the_standard_says(case: dict[str, Any]) -> None:
    found = remote({"traceparent": case["input"]})
    assert found.is_valid == case["valid"]
    if case["valid"]:
        assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (case["trace_id"], case["parent_id"])
        assert found.trace_flags == case["flags"] and found.is_remote
        again: dict[str, str] = {}
        OURS.inject(again, OURS.extract({"traceparent": case["input"]}))
        assert again == {"traceparent": case["reemitted"]}


@pytest.mark.parametrize("case", TRACESTATES, ids=[case["name"] for case in TRACESTATES])
def test_every_tracestate_vector_passes_through_or_is_dropped_without_harm(case: dict[str, Any]) -> None:
    context = OURS.extract({"traceparent": TRACEPARENT, "tracestate": case["input"]})
    again: dict[str, str] = {}
    OURS.inject(again, context)
    assert again["traceparent"] == TRACEPARENT
    members = [part.strip(" \t") for part in again.get("tracestate", "").split(",") if part.strip(" \t")]
    if not case["valid"]:
        assert members == []
    elif len(case["input"]) <= 512:
        assert members == [f"{key}={value}" for key, value in case["members"]]


def test_of_two_traceparents_none_is_followed_where_the_sdk_follows_the_first() -> None:
    pairs = [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT.replace("0123456789", "ffffffffff"))]
    assert get_current_span(SDK.extract(pairs, getter=GETTER)).get_span_context().is_valid
    assert not remote(pairs, getter=GETTER).is_valid


def test_a_line_break_is_no_white_space_where_the_sdk_takes_it_for_some() -> None:
    carrier = {"traceparent": TRACEPARENT + "\n"}
    assert get_current_span(SDK.extract(carrier)).get_span_context().is_valid
    assert not remote(carrier).is_valid


def test_a_level_2_tracestate_key_passes_where_the_sdk_loses_it() -> None:
    carrier = {"traceparent": TRACEPARENT, "tracestate": "0@a/b@c=1"}
    theirs: dict[str, str] = {}
    SDK.inject(theirs, SDK.extract(carrier))
    ours: dict[str, str] = {}
    OURS.inject(ours, OURS.extract(carrier))
    assert theirs.get("tracestate") != carrier["tracestate"]
    assert ours["tracestate"] == carrier["tracestate"]


def test_a_plus_in_baggage_is_a_plus_and_properties_belong_to_their_member() -> None:
    text = "temp=+21.5;unit=C,site=lab%20a"
    theirs = W3CBaggagePropagator().extract({"baggage": text})
    assert otel_baggage.get_all(theirs)["temp"] != "+21.5"
    context = OURS.extract({"traceparent": TRACEPARENT, "baggage": text})
    assert otel_baggage.get_all(context) == {"temp": "+21.5", "site": "lab a"}
    again: dict[str, str] = {}
    OURS.inject(again, context)
    assert again["baggage"] == text


def test_baggage_travels_without_a_span() -> None:
    context = OURS.extract({"baggage": "site=lab"})
    assert otel_baggage.get_all(context) == {"site": "lab"}
    again: dict[str, str] = {}
    OURS.inject(again, context)
    assert again == {"baggage": "site=lab"}


def test_a_seqref_is_derived_by_the_key_and_the_topics_device() -> None:
    topic = "devices/sensor-0042/telemetry"
    found = remote({"seqref": "3f2a9c01d4-0000002a-03"}, with_topic(Context(), topic))
    expected = derive(KEY, "acme", "sensor-0042", bytes.fromhex("3f2a9c01d4"), 42)
    assert found.trace_id.to_bytes(16, "big") == expected.trace_id
    assert found.span_id.to_bytes(8, "big") == expected.span_id
    assert not remote({"seqref": "3f2a9c01d4-0000002a-03"}).is_valid  # no topic, no device
    stages.configure(tenant="acme")
    assert not remote({"seqref": "3f2a9c01d4-0000002a-03"}, with_topic(Context(), topic)).is_valid  # no key


def test_what_is_broken_or_absent_leaves_the_given_context_as_it_was(recorder: Recorder) -> None:
    span = recorder.tracer.start_span("outer")
    base = otel_baggage.set_baggage("kept", "yes", set_span_in_context(span))
    for carrier in ({}, {"other": "x"}, {"traceparent": "broken"}, {"traceparent": TRACEPARENT.upper()}):
        context = OURS.extract(carrier, base)
        assert get_current_span(context) is span
        assert otel_baggage.get_all(context) == {"kept": "yes"}
    context = OURS.extract({"traceparent": TRACEPARENT}, base)
    assert get_current_span(context).get_span_context().is_remote
    assert otel_baggage.get_all(context) == {"kept": "yes"}
    assert otel_baggage.get_all(OURS.extract({"traceparent": TRACEPARENT, "baggage": "a=1"}, base)) == {"a": "1"}


TEXTS = st.text(max_size=80) | st.sampled_from([TRACEPARENT, "a=1", "3f2a9c01d4-0000002a-03"])
NAMES = st.sampled_from(["traceparent", "seqref", "tracestate", "baggage", "x"])


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=8))
def test_nothing_in_a_carrier_raises_and_what_comes_out_is_read_back_the_same(pairs: list[tuple[str, str]]) -> None:
    context = OURS.extract(pairs, with_topic(Context(), "devices/d/telemetry"), GETTER)
    sent: list[tuple[str, str]] = [("x", "1")]
    OURS.inject(sent, context, SETTER)
    again = OURS.extract(sent, getter=GETTER)
    first, second = (get_current_span(of).get_span_context() for of in (context, again))
    assert (first.trace_id, first.span_id, first.trace_flags) == (second.trace_id, second.span_id, second.trace_flags)
    assert otel_baggage.get_all(context) == otel_baggage.get_all(again)
    assert {name for name, _ in sent} <= {"x", *OURS.fields}


def test_values_that_are_no_text_are_passed_over() -> None:
    assert not remote({"traceparent": [b"\xff", 7, None]}).is_valid
    assert remote({"traceparent": [TRACEPARENT]}).is_valid


def test_user_properties_are_read_with_repetitions_and_written_once() -> None:
    pairs = [("a", "1"), ("b", "2"), ("a", "3")]
    assert GETTER.get(pairs, "a") == ["1", "3"]
    assert GETTER.get(pairs, "c") is None
    assert GETTER.keys(pairs) == ["a", "b"]
    SETTER.set(pairs, "a", "4")
    assert pairs == [("b", "2"), ("a", "4")]
