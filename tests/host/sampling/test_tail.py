"""Promises of core/sampling/{tail,span_facts}.py."""

import dataclasses
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.sampling.reason import FIRST_KEEP, Reason
from motetrace_host.core.sampling.tail import span_facts
from motetrace_host.core.sampling.tail.interesting import TraceFindings
from motetrace_host.core.sampling.tail.rules import TailRules, TailRulesEngine
from motetrace_host.core.sampling.tail.span_facts import COLD_START, ERROR, LOST, NEIGHBOUR, SLOW
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, of_rate, parse_rate, randomness
from motetrace_host.core.spans.span import Span, SpanKind, Status
from tests.host.spans.proto_spans import pack

TRACE = bytes(range(1, 17))
ONE_PERCENT = of_rate(parse_rate("1%"))
MS = 1_000_000
RULES = st.builds(
    TailRules,
    *[st.booleans()] * 4,
    st.sampled_from([0, 100]),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([ALWAYS, ONE_PERCENT, NEVER]) | st.integers(0, NEVER),
)
HEAD_REASONS = st.sampled_from([reason for reason in Reason if reason < 32])


def span(**changed: object) -> Span:
    plain = Span(
        TRACE, b"12345678", None, "db_write", SpanKind.CLIENT, 10**18, 10**18 + 99 * MS, {}, {"service.name": "db"}
    )
    return dataclasses.replace(plain, **changed)  # type: ignore[arg-type]


def plainly(rules: TailRules, bits: int, device_targeted: bool, head_reason: int, random: int) -> int:
    """The decision in the rules' own order."""
    if head_reason >= FIRST_KEEP and random >= rules.baseline:
        return head_reason
    by_strength = ((ERROR, Reason.ERROR), (LOST, Reason.LOST), (SLOW, Reason.SLOW), (COLD_START, Reason.COLD_START))
    for bit, reason in (*by_strength, (NEIGHBOUR, Reason.NEIGHBOUR)):
        if bits & rules.bits & bit:
            return reason
    return Reason.TARGETED if device_targeted and rules.targeted else Reason.UNDECIDED


@given(
    st.lists(
        st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 31), HEAD_REASONS, st.booleans()), max_size=20
    ),
    RULES,
)
def test_the_fast_decision_is_the_plain_one(messages: list[tuple[bytes, int, Reason, bool]], rules: TailRules) -> None:
    known: dict[bytes, int] = {}
    interesting = TraceFindings()
    for trace_id, bits, _, _ in messages:
        known[trace_id] = known.get(trace_id, 0) | bits
        interesting.add(trace_id, bits)
    sampler = TailRulesEngine(rules, interesting)
    for trace_id, _, head, targeted in messages:
        fast = sampler.decide(trace_id, head.keeps, head, targeted)
        assert fast == plainly(rules, known[trace_id], targeted, head, randomness(trace_id))


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (ERROR | LOST | SLOW | COLD_START | NEIGHBOUR, Reason.ERROR),
        (LOST | SLOW | COLD_START | NEIGHBOUR, Reason.LOST),
        (SLOW | COLD_START | NEIGHBOUR, Reason.SLOW), (COLD_START | NEIGHBOUR, Reason.COLD_START),
        (NEIGHBOUR, Reason.NEIGHBOUR), (0, Reason.TARGETED),
    ],
)  # fmt: skip
def test_what_happened_keeps_what_the_head_did_not_and_the_first_of_it_is_the_reason(
    bits: int, expected: Reason
) -> None:
    interesting = TraceFindings()
    interesting.add(TRACE, bits)
    sampler = TailRulesEngine(TailRules(slow_ms=1, before=1), interesting)
    assert sampler.decide(TRACE, False, Reason.UNSAMPLED, True) == expected
    assert sampler.decide(TRACE, True, Reason.RATE, True) == Reason.RATE


def test_lost_messages_and_their_neighbours_are_known_by_boot_and_seq() -> None:
    interesting = TraceFindings()
    interesting.add_runs(TRACE[:5], [(int.from_bytes(TRACE[5:9], "big"),) * 2], LOST)
    assert TailRulesEngine(TailRules(), interesting).decide(TRACE, False, 0, False) == Reason.LOST
    assert TailRulesEngine(TailRules(lost=False), interesting).decide(TRACE, False, 0, False) == 0


@pytest.mark.parametrize("rule", ["errors", "lost", "cold_start", "targeted"])
def test_a_rule_that_is_off_keeps_nothing(rule: str) -> None:
    bit = {"errors": ERROR, "lost": LOST, "cold_start": COLD_START, "targeted": 0}[rule]
    interesting = TraceFindings()
    interesting.add(TRACE, bit)
    assert TailRulesEngine(TailRules(), interesting).decide(TRACE, False, 0, not bit)
    assert not TailRulesEngine(TailRules(**{rule: False}), interesting).decide(TRACE, False, 0, not bit)


def test_deciding_takes_well_under_a_microsecond() -> None:
    """0.3 us on a quiet machine; the bound only tells that it did not become another kind of thing."""
    interesting = TraceFindings()
    for number in range(1000):
        interesting.add(number.to_bytes(16, "little"), ERROR)
        interesting.add_runs(number.to_bytes(5, "little"), [(7, 9)], LOST)
    decide = TailRulesEngine(TailRules(baseline=ONE_PERCENT), interesting).decide
    best = min(timeit.repeat(lambda: decide(TRACE, True, 16, False), number=20_000, repeat=5)) / 20_000
    assert best < 3e-6


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 0),
        ({"status": Status.ERROR}, ERROR),
        ({"status": Status.OK}, 0),
        ({"end_unix_ns": 10**18 + 100 * MS}, SLOW),
        ({"end_unix_ns": 10**18 - 100 * MS}, 0),
        ({"attributes": {"function.cold_start": True}}, COLD_START),
        ({"attributes": {"faas.coldstart": True, "x": 1.5}}, COLD_START),
        ({"attributes": {"function.cold_start": False}}, 0),
        ({"attributes": {"function.cold_start": "true"}}, 0),
        ({"attributes": {"note": "function.cold_start"}}, 0),
        ({"name": "faas.coldstart"}, 0),
        ({"attributes": {"db.status": "error", "a": 1}}, ERROR),
        ({"attributes": {"db.status": "ok"}}, 0),
        ({"attributes": {"db.status.x": "error"}}, 0),
        ({"attributes": {"faas.coldstart": True, "db.status": "error"}, "status": Status.ERROR}, COLD_START | ERROR),
    ],
)  # fmt: skip
def test_a_span_tells_what_its_attributes_status_and_length_say(changed: dict[str, object], expected: int) -> None:
    assert span_facts.facts(pack(span(**changed)), 100) == expected


def test_without_a_limit_no_span_is_slow() -> None:
    assert span_facts.facts(pack(span(end_unix_ns=2**62)), 0) == 0


@given(st.binary(max_size=60))
def test_broken_bytes_tell_nothing_and_raise_nothing(garbage: bytes) -> None:
    row = pack(span())._replace(span=b"faas.coldstart" + garbage)
    assert span_facts.facts(row, 0) in (0, ERROR, COLD_START)
