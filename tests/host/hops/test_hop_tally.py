"""The tally against a slow count of the same messages, and what it does where there is no more room."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.messages.message_number import LOW_SEQ, MessageNumber, of_trace_id
from motetrace_host.stages import hop_tally
from motetrace_host.stages.hop_tally import HopCounts, HopTally

BOOTS = [bytes([boot]) * 5 for boot in range(1, 5)]
NONCE = BOOTS[0]


def sure(seq: int, nonce: bytes = NONCE) -> MessageNumber:
    return MessageNumber(nonce, seq, True)


def perhaps(seq: int, nonce: bytes = NONCE) -> MessageNumber:
    return MessageNumber(nonce, seq, False)


def as_sets(counted: dict[str, HopCounts]) -> dict[tuple[str, str, bytes], set[int]]:
    return {
        (hop, outcome, nonce): {n for start, end in runs for n in range(start, end + 1)}
        for hop, counts in counted.items()
        for outcome, boots in counts.outcomes().items()
        for nonce, runs in boots.items()
    }


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rule", "function", "db"]),
            st.sampled_from(["seen", "filtered", "failed"]),
            st.one_of(st.none(), st.builds(sure, st.integers(0, 30), st.sampled_from(BOOTS))),
        )
    ),
    st.integers(0, 50),
)
def test_every_message_is_in_one_report_whenever_reports_are_taken(
    messages: list[tuple[str, str, MessageNumber | None]], every: int
) -> None:
    tally = HopTally()
    expected: dict[tuple[str, str, bytes], set[int]] = defaultdict(set)
    counted: dict[tuple[str, str, bytes], set[int]] = defaultdict(set)
    unnumbered = 0

    def take() -> None:
        nonlocal unnumbered
        drained = tally.drain()
        for key, found in as_sets(drained).items():
            counted[key] |= found
        unnumbered += sum(counts.unnumbered for counts in drained.values())

    for at, (hop, outcome, number) in enumerate(messages, 1):
        tally.count(hop, outcome, number)
        if number is not None:
            expected[hop, "seen", number.boot_nonce].add(number.seq)
            if outcome != "seen":
                expected[hop, outcome, number.boot_nonce].add(number.seq)
        if every and at % every == 0:
            take()
    take()
    assert counted == expected
    assert unnumbered == sum(number is None for _, _, number in messages)
    assert tally.drain() == {}


def test_threads_that_count_together_lose_nothing() -> None:
    tally = HopTally()
    taken: list[dict[str, HopCounts]] = []

    def work(boot: int) -> None:
        for seq in range(20_000):
            tally.count("rule", "seen", sure(seq, BOOTS[boot]))

    threads = [threading.Thread(target=work, args=(boot,)) for boot in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(tally.drain())
    taken.append(tally.drain())
    sizes: dict[bytes, int] = defaultdict(int)
    for counted in taken:
        for (_, _, nonce), found in as_sets(counted).items():
            sizes[nonce] += len(found)
    assert sizes == dict.fromkeys(BOOTS, 20_000)


def test_a_full_tally_sheds_and_says_how_many_but_goes_on_where_runs_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hop_tally, "BATCH", 1)
    warned: list[int] = []
    tally = HopTally(max_runs=4, on_half_full=lambda: warned.append(1))
    for boot in range(6):
        tally.count("rule", "seen", sure(1, bytes([boot + 1]) * 5))
    assert warned == [1]
    tally.count("rule", "seen", sure(2, BOOTS[0]))  # joins a run
    tally.count("rule", "seen", sure(9, BOOTS[0]))  # would be a fifth one
    counts = tally.drain()["rule"]
    assert counts.shed == 3
    assert counts.outcomes()["seen"] == {BOOTS[0]: ((1, 2),)} | dict.fromkeys(BOOTS[1:], ((1, 1),))
    tally.count("rule", "seen", sure(9, BOOTS[0]))
    assert tally.drain()["rule"].shed == 0


@given(st.lists(st.tuples(st.sampled_from(BOOTS), st.integers(0, 12)), max_size=60), st.integers(2, 12))
def test_it_never_holds_more_runs_than_allowed_and_counts_what_it_sheds(
    messages: list[tuple[bytes, int]], most: int
) -> None:
    tally = HopTally(max_runs=most)
    for nonce, seq in messages:
        tally.count("db", "seen", sure(seq, nonce))
    counts = tally.drain().get("db", HopCounts())
    runs = [run for boots in counts.outcomes().values() for found in boots.values() for run in found]
    kept = sum(end + 1 - start for start, end in runs)
    assert len(runs) <= most
    assert kept + counts.shed >= len(set(messages)) >= kept


def test_a_trace_id_alone_counts_while_its_seq_is_low() -> None:
    tally = HopTally()
    for seq in (1, 2, LOW_SEQ - 1):
        tally.count("function", "seen", perhaps(seq))
    assert tally.drain()["function"].outcomes() == {"seen": {NONCE: ((1, 2), (LOW_SEQ - 1, LOW_SEQ - 1))}}


def test_a_high_seq_counts_once_its_boot_has_shown_a_second_message() -> None:
    tally = HopTally()
    tally.count("function", "failed", perhaps(70_000))
    tally.count("db", "failed", perhaps(70_000))
    tally.count("function", "seen", perhaps(70_000))
    assert tally.drain()["function"].outcomes() == {}
    tally.count("function", "seen", perhaps(70_001))
    counted = tally.drain()
    assert counted["function"].outcomes() == {
        "seen": {NONCE: ((70_000, 70_001),)},
        "failed": {NONCE: ((70_000, 70_000),)},
    }
    assert counted["db"].outcomes() == {"seen": {NONCE: ((70_000, 70_000),)}, "failed": {NONCE: ((70_000, 70_000),)}}
    tally.count("function", "seen", perhaps(80_000))  # known by now
    assert tally.drain()["function"].outcomes() == {"seen": {NONCE: ((80_000, 80_000),)}}


def test_foreign_traces_end_as_unnumbered_and_take_no_more_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hop_tally, "MAX_STRANGERS", 10)
    tally = HopTally()
    for trace in range(100):
        tally.count("function", "seen", perhaps(LOW_SEQ + trace, trace.to_bytes(5, "big")))
    counts = tally.drain()["function"]
    assert (counts.unnumbered, counts.outcomes()) == (90, {})
    assert tally.drain() == {}
    tally.give_up_strangers()
    assert tally.drain()["function"].unnumbered == 10


def test_a_trace_id_without_the_random_flag_or_a_nonce_is_foreign() -> None:
    ours = bytes.fromhex("0123456789000000110a0b0c0d0e0f10")
    assert of_trace_id(ours) == (bytes.fromhex("0123456789"), 0x11, False)
    assert of_trace_id(bytes(8) + ours[8:]) is None  # 64-bit ids with zeros in front
