"""Promises of otel/samplers.py, with the real SDK and against its own composite sampler."""

import importlib
import logging
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.sdk import _configuration as sdk_configuration
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace._sampling_experimental import (
    composable_parent_threshold,
    composable_traceid_ratio_based,
    composite_sampler,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.head import HeadSampler, HeadSettings
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.otel.samplers import ParentBasedProbabilitySampler, ProbabilitySampler

ROOT = Path(__file__).resolve().parents[3]
GROUP = "opentelemetry_traces_sampler"
HIGH = 0x5F3A9C0D21_000004D2_FFFFFFFFFFFFFF  # a motetrace id: nonce, seq, 56 random bits
LOW = 0x5F3A9C0D21_000004D2_00000000000001
TRACE_IDS = st.integers(1, 2**128 - 1)
STATES = st.sampled_from(
    ["", "foo=1", "ot=th:8", "ot=th:0,foo=1", "foo=1,ot=th:fd70a", "ot=th:8;rv:ffffffffffffff", "ot=rv:00000000000000",
     "ot=th:xyz;p:8", "ot=th:c;x:1"]
)  # fmt: skip


def entry_points() -> dict[str, str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, str] = tomllib.load(file)["project"]["entry-points"][GROUP]
    return found


def parent(trace_id: int, flags: int, state: str = "") -> SpanContext:
    parsed = TraceState.from_header([state]) if state else TraceState()
    return SpanContext(trace_id, 1, True, TraceFlags(flags), parsed)


def decide(sampler: Sampler, of: SpanContext | None, trace_id: int = HIGH) -> tuple[bool, str]:
    context = None if of is None else set_span_in_context(NonRecordingSpan(of))
    result = sampler.should_sample(context, trace_id if of is None else of.trace_id, "span")
    return result.decision.is_sampled(), (result.trace_state or TraceState()).to_header()


def header_members(text: str) -> dict[str, str]:
    return dict(member.split("=", 1) for member in text.split(",") if member)


@pytest.mark.parametrize("name", ["motetrace_probability", "parentbased_motetrace_probability"])
def test_the_sdk_loads_it_by_its_name_and_gives_it_the_rate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name, entry_points()[name], GROUP)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1%")
    with mock.patch.object(sdk_configuration, "entry_points", return_value=iter([point])):
        sampler = sdk_configuration._import_sampler(name)
    assert sampler is not None
    assert "MotetraceProbability{1%,th:fd70a}" in sampler.get_description()


def test_each_entry_point_names_a_sampler() -> None:
    for target in entry_points().values():
        module, _, name = target.partition(":")
        assert issubclass(getattr(importlib.import_module(module), name), Sampler)


def test_a_rate_that_is_none_is_said_by_the_sdk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    point = EntryPoint("motetrace_probability", entry_points()["motetrace_probability"], GROUP)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "10")
    with mock.patch.object(sdk_configuration, "entry_points", return_value=iter([point])):
        assert sdk_configuration._import_sampler("motetrace_probability") is None
    assert "'10' is above 1" in caplog.text


@pytest.mark.parametrize("rate", [None, "", "100%", 1.0, 1])
def test_without_a_rate_everything_is_kept(rate: str | float | None) -> None:
    assert decide(ProbabilitySampler(rate), None, LOW) == (True, "ot=th:0")


def test_a_rate_of_0_keeps_nothing_and_writes_nothing() -> None:
    assert decide(ProbabilitySampler("0"), None, HIGH) == (False, "")
    assert ProbabilitySampler("0").get_description() == "MotetraceProbability{0%,never}"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (None, (True, "ot=th:8")),
        (parent(LOW, 3), (False, "")),
        (parent(HIGH, 2), (True, "ot=th:8")),  # what the parent decided has no say
        (parent(HIGH, 3, "foo=1,ot=th:0"), (True, "ot=th:8,foo=1")),
        (parent(LOW, 3, "foo=1,ot=th:0"), (False, "foo=1")),
        (parent(LOW, 3, "ot=rv:80000000000000"), (True, "ot=th:8;rv:80000000000000")),
        (parent(HIGH, 3, "ot=rv:7fffffffffffff;th:0"), (False, "ot=rv:7fffffffffffff")),
    ],
)
def test_the_independent_one_decides_by_r_alone(of: SpanContext | None, expected: tuple[bool, str]) -> None:
    assert decide(ProbabilitySampler("50%"), of) == expected


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (None, (True, "ot=th:fd70a")),
        (parent(LOW, 3), (True, "")),  # sampled by nobody knows what
        (parent(HIGH, 2), (False, "")),
        (parent(HIGH, 3, "foo=1,ot=th:8"), (True, "foo=1,ot=th:8")),  # unchanged, and in its place
        (parent(LOW, 3, "foo=1,ot=th:8"), (True, "foo=1")),  # not true: R does not reach it
        (parent(HIGH, 2, "foo=1,ot=th:8"), (False, "foo=1")),
        (parent(LOW, 3, "ot=th:8;rv:80000000000000"), (True, "ot=th:8;rv:80000000000000")),
    ],
)
def test_the_parent_based_one_follows_and_passes_on_what_is_true(
    of: SpanContext | None, expected: tuple[bool, str]
) -> None:
    assert decide(ParentBasedProbabilitySampler("1%"), of) == expected


@given(TRACE_IDS, st.sampled_from([1.0, 0.5, 0.25, 1 / 16, 1 / 4096]), STATES, st.booleans())
def test_it_agrees_with_the_sdks_own_composite_sampler(trace_id: int, rate: float, state: str, is_root: bool) -> None:
    """That one is experimental, has no entry point, takes no rv from a parent, and rounds no threshold."""
    of = None if is_root else parent(trace_id, 3, state if "rv" not in state else "")
    theirs = composite_sampler(composable_traceid_ratio_based(rate))
    ours = decide(ProbabilitySampler(rate), of, trace_id)
    context = None if of is None else set_span_in_context(NonRecordingSpan(of))
    result = theirs.should_sample(context, trace_id, "span", trace_state=of.trace_state if of else None)
    assert ours[0] is result.decision.is_sampled()
    if ours[0]:
        written = (result.trace_state or TraceState()).to_header()
        assert sorted(header_members(ours[1])["ot"].split(";")) == sorted(header_members(written)["ot"].split(";"))


@given(TRACE_IDS, STATES)
def test_following_a_sampled_parent_agrees_too_where_its_th_is_true(trace_id: int, state: str) -> None:
    of = parent(trace_id, 3, state)
    sampled, header = decide(ParentBasedProbabilitySampler("1%"), of)
    assert sampled
    th, rv = ot_member.read_leniently(of.trace_state.get("ot", ""))
    theirs = composite_sampler(composable_parent_threshold(composable_traceid_ratio_based(0.01)))
    context = set_span_in_context(NonRecordingSpan(of))
    result = theirs.should_sample(context, trace_id, "span", trace_state=of.trace_state)
    if th is None or (trace_id & (2**56 - 1) if rv is None else rv) >= th:
        assert result.decision.is_sampled()
        theirs_ot = (result.trace_state or TraceState()).get("ot", "") if th is not None else None
        ours_ot = header_members(header).get("ot", "")
        assert theirs_ot is None or sorted(ours_ot.split(";")) == sorted(theirs_ot.split(";"))
        assert th is not None or "th:" not in ours_ot
    else:
        assert "th:" not in header


@given(TRACE_IDS, st.sampled_from(["100%", "50%", "1%", "1/1000"]))
def test_a_service_keeps_exactly_what_the_shim_keeps(trace_id: int, rate: str) -> None:
    threshold = thresholds.of_rate(thresholds.parse_rate(rate))
    shim = HeadSampler(HeadSettings(threshold))
    plan = shim.plan("d", TrustPolicy.RESAMPLE)
    decision = shim.decide(plan, trace_id.to_bytes(16, "big"), 3, 0)
    sampled, header = decide(ProbabilitySampler(rate), None, trace_id)
    assert sampled is (decision == Reason.RATE)
    if sampled:
        assert header == ot_member.rewrite("", plan.th)


def test_spans_of_the_real_sdk_carry_it_and_their_children_inherit_it() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBasedProbabilitySampler("50%"))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for _ in range(400):
        with tracer.start_as_current_span("root"), tracer.start_as_current_span("child"):
            pass
    spans = exporter.get_finished_spans()
    assert 120 * 2 < len(spans) < 280 * 2  # 200 traces, within 8 standard deviations
    for span in spans:
        context = span.get_span_context()
        assert context is not None
        assert context.trace_state.to_header() == "ot=th:8"
        assert context.trace_id & (2**56 - 1) >= 2**55
        assert context.trace_flags.random_trace_id
    with (
        otel.use_span(NonRecordingSpan(parent(LOW, 3, "ot=th:0,foo=1"))),
        tracer.start_as_current_span("stage") as stage,
    ):
        assert stage.get_span_context().trace_state.to_header() == "ot=th:0,foo=1"


def test_a_full_tracestate_loses_its_oldest_member_and_nothing_else() -> None:
    full = ",".join(f"k{number}=1" for number in range(32))
    header = decide(ProbabilitySampler("100%"), parent(HIGH, 3, full))[1]
    assert header == "ot=th:0," + full.rsplit(",", 1)[0]


def test_ids_that_nobody_calls_random_are_presumed_so_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    sampler = ProbabilitySampler("50%")
    for of in (None, parent(HIGH, 3), parent(HIGH, 1, "ot=rv:ffffffffffffff"), parent(HIGH, 1), parent(HIGH, 1)):
        decide(sampler, of)
    assert len(caplog.records) == 1
    assert "random flag (0x02) is not set" in caplog.text
