"""Promises of core/sampling/{interesting,verdicts}.py: nothing is confused, everything is bounded and counted."""

import tracemalloc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.tail.interesting import MAX_RUNS, TraceFindings
from motetrace_host.core.sampling.tail.span_facts import ERROR, LOST, NEIGHBOUR, SLOW
from motetrace_host.core.sampling.tail.verdicts import TailDecisions

BOOT = b"\x5f\x3a\x9c\x0d\x21"


def trace(number: int, boot: bytes = BOOT) -> bytes:
    return boot + number.to_bytes(4, "big") + bytes(7)


def test_bits_of_a_trace_add_up() -> None:
    known = TraceFindings()
    known.add(trace(1), ERROR)
    known.add(trace(1), SLOW)
    known.add(trace(2), 0)
    assert [known.bits(trace(number)) for number in (1, 2)] == [ERROR | SLOW, 0]
    assert len(known) == 1
    known.decided(trace(1))
    assert known.bits(trace(1)) == 0


RUN = st.tuples(st.integers(0, 30), st.integers(0, 5)).map(lambda run: (run[0], run[0] + run[1]))
STEPS = st.lists(st.tuples(st.sampled_from([LOST, NEIGHBOUR]), RUN), max_size=30)


@given(STEPS)
def test_runs_say_of_each_seq_what_was_told_of_it(steps: list[tuple[int, tuple[int, int]]]) -> None:
    known, plain = TraceFindings(), dict.fromkeys(range(50), 0)
    for bit, (first, last) in steps:
        known.add_runs(BOOT, [(first, last)], bit)
        for seq in range(first, last + 1):
            plain[seq] |= bit
    assert {seq: known.bits(trace(seq)) for seq in plain} == plain
    assert known.bits(trace(1, b"other")) == 0


def test_the_trace_told_of_longest_ago_goes_and_is_counted() -> None:
    known = TraceFindings(max_traces=2)
    for number in (1, 2, 1, 3):
        known.add(trace(number), ERROR)
    assert [known.bits(trace(number)) for number in (1, 2, 3)] == [ERROR, 0, ERROR]
    assert (len(known), known.shed_traces) == (2, 1)


def test_runs_are_bounded_for_each_boot_and_in_all() -> None:
    known = TraceFindings(max_boots=2)
    known.add_runs(BOOT, [(2 * number, 2 * number) for number in range(MAX_RUNS + 3)], LOST)
    assert known.shed_runs == 3
    assert [known.bits(trace(seq)) for seq in (0, 4, 6, 2 * MAX_RUNS + 4)] == [0, 0, LOST, LOST]
    for boot in (b"boot1", b"boot2"):
        known.add_runs(boot, [(1, 9)], LOST)
    assert known.bits(trace(6)) == 0
    assert known.shed_runs == 3 + MAX_RUNS


def test_late_spans_follow_the_verdict() -> None:
    verdicts = TailDecisions(max_kept=2, max_dropped=2)
    verdicts.note(trace(1), int(Reason.ERROR))
    verdicts.note(trace(2), 0)
    assert [verdicts.find(trace(number)) for number in (1, 2, 3)] == [Reason.ERROR, 0, None]
    verdicts.note(trace(2), int(Reason.NEIGHBOUR))  # retroactively
    verdicts.note(trace(1), 0)
    assert [verdicts.find(trace(number)) for number in (1, 2)] == [Reason.ERROR, Reason.NEIGHBOUR]


def test_the_many_that_are_dropped_do_not_push_out_those_that_are_kept() -> None:
    verdicts = TailDecisions(max_kept=2, max_dropped=3)
    verdicts.note(trace(0), int(Reason.RATE))
    for number in range(1, 10):
        verdicts.note(trace(number), 0)
    assert verdicts.find(trace(0)) == Reason.RATE
    assert [verdicts.find(trace(number)) for number in (6, 7, 9)] == [None, 0, 0]
    assert (len(verdicts), verdicts.forgotten) == (4, 6)


def bytes_each(count: int, fill: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        held = fill()
        return tracemalloc.get_traced_memory()[0] / count if held is not None else 0.0
    finally:
        tracemalloc.stop()


def test_entries_take_no_more_than_the_docstrings_say() -> None:
    count = 20_000

    def traces() -> TraceFindings:
        known = TraceFindings(count)
        for number in range(count):
            known.add(trace(number), ERROR)
        return known

    def verdicts() -> TailDecisions:
        noted = TailDecisions(count, count)
        for number in range(count):
            noted.note(trace(number), 0)
        return noted

    def runs(each: int) -> Callable[[], TraceFindings]:
        def fill() -> TraceFindings:
            known = TraceFindings(max_boots=1000)
            for boot in range(1000):
                known.add_runs(boot.to_bytes(5, "big"), [(300 + 2 * n, 300 + 2 * n) for n in range(each)], LOST)
            return known

        return fill

    assert bytes_each(count, traces) <= 250
    assert bytes_each(count, verdicts) <= 250
    assert bytes_each(1000, runs(1)) <= 600 + 150
    assert bytes_each(1000, runs(100)) <= 600 + 150 * 100
