"""What every store of ledger states promises: one suite, run against SQLite and a real Valkey."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motetrace_host.core.ledger.runs import MAX_SEQ, Runs
from motetrace_host.core.ledger.seen_numbers import MAX_GAPS, MAX_UNIX_MS, SeenNumbers
from motetrace_host.core.ledger.store import SeenRuns
from tests.host.ledger.stores import WINDOW_MS, RedisLedger, SqliteLedger

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
BOOT, OTHER_BOOT = bytes.fromhex("0102030405"), b"\0\0{}\n"

HOPS = ("rule", "shim")

Ledger = SqliteLedger | RedisLedger


def numbers(
    *runs: tuple[int, int], device: str = "a", boot: bytes = BOOT, hop: str = "shim", at: int = NOW
) -> SeenRuns:
    return SeenRuns(device, boot, hop, runs, at)


class Books:
    """The oracle of the stores: a `SeenNumbers` per key (itself held against an oracle in test_seen.py)."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, bytes, str], SeenNumbers] = {}

    def merge(self, seen_runs: list[SeenRuns]) -> list[Runs]:
        return [self._add(added) for added in seen_runs]

    def _add(self, added: SeenRuns) -> Runs:
        again: Runs = ()
        for number, (start, end) in enumerate(added.runs):
            seen = self.states.get(added[:3])
            if seen is None:
                self.states[added[:3]] = SeenNumbers(start, end, added.at_unix_ms, added.expected_first)
                continue
            if number == 0 and added.expected_first is not None:
                seen.expect(added.expected_first, added.at_unix_ms)
            again += seen.add(start, end, added.at_unix_ms, WINDOW_MS)
        return again

    def rows(self) -> list[tuple[str, bytes, str, SeenNumbers]]:
        return [(*key, self.states[key]) for key in sorted(self.states)]


def test_each_delta_is_answered_with_what_was_seen_before(ledger: Ledger) -> None:
    assert ledger.merge([numbers((1, 5)), numbers((7, 8), device="b")]) == [(), ()]
    answers = ledger.merge([numbers((4, 9)), numbers((6, 6), device="b"), numbers((7, 7), device="b"), numbers()])
    assert answers == [((4, 5),), (), ((7, 7),), ()]


def test_runs_of_one_delta_and_deltas_of_one_batch_are_added_one_after_the_other(ledger: Ledger) -> None:
    assert ledger.merge([numbers((1, 3), (3, 4), (1, 4)), numbers((4, 5)), numbers((5, 5))]) == [
        ((3, 3), (1, 4)),
        ((4, 4),),
        ((5, 5),),
    ]
    [row] = ledger.read()
    assert (row.seen.count, row.seen.duplicates) == (5, 7)


def test_devices_boots_and_hops_are_kept_apart(ledger: Ledger) -> None:
    keys = [
        (device, boot, hop) for device in ("", "a", "ä/☃") for boot in (OTHER_BOOT, BOOT) for hop in ("rule", "shim")
    ]
    assert ledger.merge([SeenRuns(*key, ((n, n),), NOW) for n, key in enumerate(keys)]) == [()] * len(keys)
    assert [(row[:3], row.seen.lowest) for row in ledger.read()] == [(key, n) for n, key in enumerate(keys)]
    assert [row[:3] for row in ledger.read(device_id="a")] == [key for key in keys if key[0] == "a"]
    assert [row[:3] for row in ledger.read(boot_nonce=BOOT)] == [key for key in keys if key[1] == BOOT]
    assert [row[:3] for row in ledger.read("a", BOOT)] == [("a", BOOT, "rule"), ("a", BOOT, "shim")]
    assert ledger.read("nobody") == []


def test_nothing_reported_leaves_nothing(ledger: Ledger) -> None:
    assert ledger.merge([]) == []
    assert ledger.merge([numbers(), numbers()._replace(expected_first=1)]) == [(), ()]
    assert ledger.read() == []


def test_a_known_first_number_opens_a_gap_at_the_beginning_and_later(ledger: Ledger) -> None:
    ledger.merge([numbers((4, 4))._replace(expected_first=1), numbers((9, 9), device="b")])
    ledger.merge([numbers((5, 5), at=NOW + 5)._replace(expected_first=1)])
    ledger.merge([numbers((10, 10), device="b", at=NOW + 5)._replace(expected_first=0)])
    first, second = (row.seen for row in ledger.read())
    assert first.gaps == [(1, 3, NOW)]
    assert second.gaps == [(0, 8, NOW + 5)]


def test_everything_is_there_after_a_restart(ledger: Ledger) -> None:
    ledger.merge([numbers((1, 1), (4, 4)), numbers((1, 9), device="b")])
    before = ledger.read()
    ledger.reopen()
    assert ledger.read() == before
    assert ledger.merge([numbers((3, 5)), numbers((9, 9), device="b")]) == [((4, 4),), ((9, 9),)]


def test_a_number_out_of_range_refuses_the_batch_and_leaves_no_trace(ledger: Ledger) -> None:
    ledger.merge([numbers((1, 1))])
    for bad in (
        numbers((2, MAX_SEQ + 1)),
        numbers((3, 2)),
        numbers((2, 2), at=-1),
        numbers((2, 2), at=MAX_UNIX_MS + 1),
    ):
        with pytest.raises(ValueError, match=r"0\.\."):
            ledger.merge([numbers((2, 2)), numbers((1, 1), device="b"), bad])
    [row] = ledger.read()
    assert row.seen == SeenNumbers(1, 1, NOW)
    assert ledger.merge([numbers((2, 2))]) == [()]


def test_the_ends_of_all_ranges_can_be_stored(ledger: Ledger) -> None:
    books = Books()
    for batch in (
        [numbers((MAX_SEQ, MAX_SEQ), at=MAX_UNIX_MS, device="d" * 255)._replace(expected_first=0)],
        [numbers((0, MAX_SEQ), at=0, device="d" * 255), numbers((0, MAX_SEQ), (0, MAX_SEQ), at=MAX_UNIX_MS)],
        [numbers((0, 0), device="d" * 255, at=1)],
    ):
        assert ledger.merge(batch) == books.merge(batch)
    assert ledger.read() == books.rows()


def test_a_thousand_gaps_are_kept_and_the_lowest_are_forgotten(ledger: Ledger) -> None:
    books, chance = Books(), random.Random(7)
    lost = list(range(1, 2 * MAX_GAPS + 60, 2))
    batch = [numbers(*[(seq, seq) for seq in range(2, 2 * MAX_GAPS + 62, 2)])]
    assert ledger.merge(batch) == books.merge(batch)
    chance.shuffle(lost)
    for begin in range(0, len(lost), 100):
        batch = [numbers((seq, seq + chance.randrange(3)), at=NOW + begin * 5) for seq in lost[begin : begin + 100]]
        batch.append(numbers((5 * MAX_GAPS + begin, 5 * MAX_GAPS + begin), at=NOW + begin))
        assert ledger.merge(batch) == books.merge(batch)
    [row] = ledger.read()
    assert row == books.rows()[0]
    assert row.seen.forgotten > 20


def test_a_batch_of_many_thousands_is_taken(ledger: Ledger) -> None:
    batch = [SeenRuns(f"d{n % 1500}", BOOT, "shim", ((n, n),), NOW) for n in range(4500)]
    assert ledger.merge(batch) == [()] * 4500
    assert ledger.merge(batch) == [((n, n),) for n in range(4500)]
    rows = ledger.read()
    assert len(rows) == 1500
    assert sum(row.seen.count for row in rows) == sum(row.seen.duplicates for row in rows) == 4500


runs = st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
seen_runs = st.builds(
    SeenRuns,
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([BOOT, OTHER_BOOT]),
    st.sampled_from(["shim", "rule.failed"]),
    st.lists(runs, max_size=3).map(tuple),
    st.integers(NOW - 2 * WINDOW_MS, NOW + 2 * WINDOW_MS),
    st.none() | st.integers(0, 9),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(seen_runs, max_size=12) | st.just("reopen"), max_size=10))
def test_any_history_gives_what_the_oracle_says(ledger: Ledger, history: list[list[SeenRuns] | str]) -> None:
    ledger.forget_before(MAX_UNIX_MS)
    books = Books()
    for batch in history:
        if isinstance(batch, str):
            ledger.reopen()
        else:
            assert ledger.merge(batch) == books.merge(batch)
    assert ledger.read() == books.rows()


def test_boots_seen_last_before_a_time_are_forgotten_the_oldest_first(ledger: Ledger) -> None:
    boots = [bytes([n]) * 5 for n in range(6)]
    order = [3, 0, 5, 1, 4, 2]
    for age, n in enumerate(order):
        ledger.merge([numbers((1, 1), device=f"d{n}", boot=boots[n], at=NOW + age * HOUR_MS)])
    # The one seen first is alive at another hop.
    ledger.merge([numbers((1, 1), device="", boot=boots[3], hop="rule", at=NOW + 9 * HOUR_MS)])
    assert ledger.forget_before(NOW + 4 * HOUR_MS, limit=2) == 2
    assert {row.boot_nonce for row in ledger.read()} == {boots[n] for n in (3, 1, 4, 2)}
    assert ledger.forget_before(NOW + 4 * HOUR_MS, limit=2) == 1
    assert {row.boot_nonce for row in ledger.read()} == {boots[n] for n in (3, 4, 2)}
    assert len(ledger.read(boot_nonce=boots[3])) == 2
    assert ledger.forget_before(NOW + 4 * HOUR_MS) == 0
    assert ledger.read("d0") == []


def test_a_boot_that_was_forgotten_begins_anew(ledger: Ledger) -> None:
    ledger.merge([numbers((1, 5))])
    assert ledger.forget_before(NOW + 1) == 1
    assert ledger.merge([numbers((5, 6), at=NOW + 2)]) == [()]
    [row] = ledger.read()
    assert row.seen == SeenNumbers(5, 6, NOW + 2)


def test_a_boot_is_as_old_as_its_last_message_however_often_it_was_seen(ledger: Ledger) -> None:
    for seq in range(1, 5):
        ledger.merge([numbers((seq, seq), at=NOW + seq)])
    assert ledger.forget_before(NOW + 4) == 0
    assert ledger.forget_before(NOW + 5) == 1
