"""core/ledger/seen_numbers.py: a hop's numbers, against an oracle that keeps each of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from motetrace_host.core.ledger import seen_numbers
from motetrace_host.core.ledger import seen_numbers as seen_module
from motetrace_host.core.ledger.runs import MAX_SEQ
from motetrace_host.core.ledger.seen_numbers import MAX_GAPS, MAX_UNIX_MS, SeenNumbers
from tests.host.ledger import oracle as oracle_module
from tests.host.ledger.oracle import Oracle

NOW = 1_700_000_000_000
WINDOW = 1_000


def numbers(runs: tuple[tuple[int, int], ...]) -> list[int]:
    return [seq for start, end in runs for seq in range(start, end + 1)]


class SeenMachine(RuleBasedStateMachine):
    """Loss, duplicates, reordering, late arrivals before and after the window, clock steps, the end of the numbers."""

    @initialize(
        base=st.sampled_from([0, 1, 500, MAX_SEQ - 300, MAX_SEQ]),
        length=st.integers(0, 5),
        expected_first=st.none() | st.integers(0, 20),
    )
    def begin(self, base: int, length: int, expected_first: int | None) -> None:
        self.now = NOW
        end = min(base + length, MAX_SEQ)
        expected_first = None if expected_first is None else max(base - expected_first, 0)
        self.seen = SeenNumbers(base, end, self.now, expected_first)
        self.oracle = Oracle()
        self.oracle.add(base, end, self.now)
        if expected_first is not None:
            self.oracle.expect(expected_first, self.now)

    def add(self, start: int, end: int) -> None:
        again = self.seen.add(start, end, self.now, WINDOW)
        assert numbers(again) == self.oracle.add(start, end, self.now, WINDOW)

    @precondition(lambda self: self.seen.highest < MAX_SEQ)
    @rule(lost=st.integers(0, 12), length=st.integers(0, 5))
    def comes_above(self, lost: int, length: int) -> None:
        start = min(self.seen.highest + 1 + lost, MAX_SEQ)
        self.add(start, min(start + length, MAX_SEQ))

    @rule(back=st.integers(-3, 40), length=st.integers(0, 50))
    def comes_anywhere_near(self, back: int, length: int) -> None:
        start = min(max(self.seen.highest - back, 0), MAX_SEQ)
        self.add(start, min(start + length, MAX_SEQ))

    @rule(below=st.integers(0, 15), length=st.integers(0, 20))
    def comes_below_the_lowest(self, below: int, length: int) -> None:
        start = max(self.seen.lowest - below, 0)
        self.add(start, min(start + length, MAX_SEQ))

    @precondition(lambda self: self.seen.gaps)
    @rule(data=st.data())
    def a_missing_number_comes(self, data: st.DataObject) -> None:
        start, end, _ = data.draw(st.sampled_from(self.seen.gaps))
        seq = data.draw(st.integers(start, end))
        self.add(seq, seq)

    @rule(first=st.integers(0, 10))
    def its_first_number_becomes_known(self, first: int) -> None:
        first = max(self.seen.lowest - first, 0)
        self.seen.expect(first, self.now)
        self.oracle.expect(first, self.now)

    @rule(ms=st.sampled_from([1, WINDOW // 2, WINDOW, WINDOW + 1, 10 * WINDOW]))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(ms=st.sampled_from([1, WINDOW, WINDOW + 1, NOW - WINDOW]))
    def the_clock_steps_back(self, ms: int) -> None:
        self.now = max(self.now - ms, 0)

    @rule()
    def it_is_stored_and_read_again(self) -> None:
        self.seen = SeenNumbers.unpack(self.seen.pack())

    @invariant()
    def equals_the_oracle(self) -> None:
        self.oracle.assert_equals(self.seen)
        assert len(self.seen.gaps) <= seen_module.MAX_GAPS

    @invariant()
    def every_number_is_seen_lost_or_waiting(self) -> None:
        lost, waiting = self.seen.missing(self.now, WINDOW)
        assert (lost, waiting) == self.oracle.missing(self.now, WINDOW)
        assert self.seen.count + lost + waiting == self.seen.highest - self.seen.lowest + 1
        named = self.seen.missing_runs(self.now, WINDOW)
        assert sum(run.end - run.start + 1 for run in named if run.lost) == lost - self.seen.forgotten
        assert sum(run.end - run.start + 1 for run in named if not run.lost) == waiting

    @invariant()
    def every_number_can_be_asked_for(self) -> None:
        for seq in range(max(self.seen.lowest - 2, 0), min(self.seen.highest + 2, MAX_SEQ) + 1):
            assert self.seen.contains(seq) == (seq in self.oracle.seen or seq in self.oracle.forgotten)


class CrampedSeenMachine(SeenMachine):
    """The same with room for three gaps only, so that most of them are forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(seen_module, "MAX_GAPS", 3)
        self.patch.setattr(oracle_module, "MAX_GAPS", 3)

    def teardown(self) -> None:
        self.patch.undo()


TestSeen = SeenMachine.TestCase
TestSeen.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestCrampedSeen = CrampedSeenMachine.TestCase
TestCrampedSeen.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_the_usual_case_changes_two_attributes_and_nothing_else() -> None:
    seen = SeenNumbers(1, 1, NOW, expected_first=0)
    gaps = seen.gaps
    nothing = {id(seen.add(seq, seq, NOW + seq)) for seq in range(2, 100)}
    assert nothing == {id(())}
    assert seen.gaps is gaps
    assert (seen.highest, seen.last_unix_ms, seen.count, gaps) == (99, NOW + 99, 99, [(0, 0, NOW)])


def test_a_gap_becomes_a_loss_after_the_window_and_is_taken_back() -> None:
    seen = SeenNumbers(1, 4, NOW)
    seen.add(7, 9, NOW + 5)
    assert seen.missing(NOW + 5 + 10_000) == (0, 2)
    assert seen.missing(NOW + 5 + 10_001) == (2, 0)
    assert seen.add(6, 6, NOW + 60_000) == ()
    assert (seen.missing(NOW + 60_000), seen.late, seen.recovered) == ((1, 0), 1, 1)
    assert seen.missing_runs(NOW + 60_000) == [(5, 5, NOW + 5, True)]


def test_the_messages_lost_before_the_first_one_count_when_the_first_number_is_known() -> None:
    assert SeenNumbers(4, 4, NOW).missing(NOW) == (0, 0)
    assert SeenNumbers(4, 4, NOW, expected_first=1).missing_runs(NOW) == [(1, 3, NOW, False)]
    assert SeenNumbers(4, 4, NOW, expected_first=9).gaps == []


def test_a_thousand_gaps_and_no_more_are_kept() -> None:
    seen, oracle = SeenNumbers(0, 0, NOW), Oracle()
    oracle.add(0, 0, NOW)
    lost = list(range(1, 2 * MAX_GAPS + 40, 2))
    for seq in range(2, 2 * MAX_GAPS + 42, 2):
        seen.add(seq, seq, NOW + seq)
        oracle.add(seq, seq, NOW + seq)
    random.Random(1).shuffle(lost)
    for seq in lost[: MAX_GAPS // 2]:
        assert numbers(seen.add(seq, seq, NOW + 10**6)) == oracle.add(seq, seq, NOW + 10**6)
    oracle.assert_equals(seen)
    assert seen.forgotten == 20
    assert len(seen.pack()) <= 59 + 16 * 1024


def test_a_clock_that_was_years_ahead_keeps_no_gap_waiting() -> None:
    seen = SeenNumbers(1, 1, 4 * 10**12)
    seen.add(3, 3, 4 * 10**12)
    assert seen.missing(NOW) == (1, 0)


@pytest.mark.parametrize(
    ("start", "end", "at"),
    [(-1, 0, NOW), (0, MAX_SEQ + 1, NOW), (5, 4, NOW), (11, 10, NOW), (11, 11, -1), (11, 11, MAX_UNIX_MS + 1)],
)
def test_a_number_out_of_range_is_refused_and_changes_nothing(start: int, end: int, at: int) -> None:
    seen = SeenNumbers(1, 10, NOW)
    before = seen.pack()
    with pytest.raises(ValueError, match=r"outside 0\.\.|within 0\.\."):
        seen.add(start, end, at)
    assert seen.pack() == before
    with pytest.raises(ValueError, match=r"outside 0\.\.|within 0\.\."):
        SeenNumbers(start, end, at)


def test_the_packed_form_is_what_its_table_says() -> None:
    seen = SeenNumbers(0x01020304, 0x01020304, 5, expected_first=0x01020300)
    seen.add(0x01020310, 0x01020311, 6)
    assert seen.pack().hex() == (
        "01 01020300 01020311 0000000000000005 0000000000000006"
        " 0000000000000000 0000000000000000 0000000000000000 0000000000000000"
        " 0002 01020300 01020303 0000000000000005 01020305 0102030f 0000000000000006"
    ).replace(" ", "")


def packed(gaps: list[tuple[int, int, int]] = [], **changes: int) -> bytes:  # noqa: B006 - not changed
    fields = {
        "version": 1, "lowest": 10, "highest": 20, "first": NOW, "last": NOW,
        "duplicates": 0, "late": 0, "recovered": 0, "forgotten": 0, "gap_count": len(gaps),
    }  # fmt: skip
    return seen_numbers.HEAD.pack(*(fields | changes).values()) + b"".join(seen_numbers.GAP.pack(*gap) for gap in gaps)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "0 bytes"),
        (packed()[:-1], "58 bytes"),
        (packed() + b"\0", "60 bytes"),
        (packed(version=2), "version 2"),
        (packed(gap_count=1), "names 1 gaps"),
        (packed([(n, n, 0) for n in range(11, 11 + 2 * 1025, 2)], highest=9999), "names 1025 gaps"),
        (packed(lowest=21), "lowest 21 above highest 20"),
        (packed([(9, 11, NOW)]), r"gap 9\.\.11"),
        (packed([(19, 20, NOW)]), r"gap 19\.\.20"),
        (packed([(13, 12, NOW)]), r"gap 13\.\.12"),
        (packed([(12, 14, NOW), (14, 15, NOW)]), r"gap 14\.\.15"),
        (packed([(12, 14, 2**53)]), "opened 9007199254740992"),
        (packed([(12, 14, NOW)], forgotten=8), r"11 of the numbers 10\.\.20"),
        (packed(forgotten=2**64 - 1), "are missing; one was seen"),
        (packed(first=2**53), "times 9007199254740992"),
        (packed(duplicates=2**53), "9007199254740992 duplicates"),
        (packed(recovered=1), "1 recovered"),
    ],
)
def test_hostile_bytes_are_refused_with_the_fault(data: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        SeenNumbers.unpack(data)


@given(st.binary(max_size=200) | st.binary(min_size=58, max_size=58).map(lambda data: b"\x01" + data))
def test_no_bytes_do_anything_else_than_be_read_or_be_refused(data: bytes) -> None:
    try:
        seen = SeenNumbers.unpack(data)
    except ValueError:
        return
    assert seen.pack() == data
    assert seen.count >= 1


def test_duplicates_stop_counting_at_what_redis_can_hold() -> None:
    seen = SeenNumbers.unpack(packed(lowest=0, highest=MAX_SEQ, duplicates=2**53 - 5))
    assert seen.add(0, MAX_SEQ, NOW) == ((0, MAX_SEQ),)
    assert SeenNumbers.unpack(seen.pack()).duplicates == 2**53 - 1
