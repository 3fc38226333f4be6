"""Promises of core/ledger/runs.py, against sets of numbers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.ledger import runs as seq_runs
from motetrace_host.core.ledger.runs import MAX_SEQ, Run

RUNS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda run: (run[0], run[0] + run[1])), max_size=8)


def numbers(runs: list[Run]) -> set[int]:
    return {seq for first, last in runs for seq in range(first, last + 1)}


def is_tidy(runs: list[Run]) -> bool:
    return all(first <= last for first, last in runs) and all(a[1] + 1 < b[0] for a, b in pairwise(runs))


@given(RUNS, st.integers(0, 5), st.integers(0, 5))
def test_neighbours_are_the_numbers_around_and_not_the_failed_ones(failed: list[Run], before: int, after: int) -> None:
    found = seq_runs.neighbours(failed, before, after)
    bad = numbers(failed)
    around = {seq + step for seq in bad for step in range(-before, after + 1) if seq + step >= 0}
    assert numbers(found) == around - bad
    assert is_tidy(found)


@given(RUNS, RUNS)
def test_taking_runs_out_of_runs_is_taking_sets_out_of_sets(runs: list[Run], holes: list[Run]) -> None:
    left = seq_runs.without(seq_runs.merged(runs), seq_runs.merged(holes))
    assert numbers(left) == numbers(runs) - numbers(holes)
    assert is_tidy(left)


def test_the_ends_of_the_numbers_are_no_edge_to_fall_off() -> None:
    assert seq_runs.neighbours([(0, 1), (MAX_SEQ, MAX_SEQ)], 2, 2) == [(2, 3), (MAX_SEQ - 2, MAX_SEQ - 1)]
    assert seq_runs.neighbours([(5, MAX_SEQ)], 1, 1) == [(4, 4)]  # a run of four thousand million costs as much as one
    assert seq_runs.neighbours([], 3, 3) == []


@pytest.mark.parametrize("run", [(2, 1), (-1, 3), (0, MAX_SEQ + 1)])
def test_a_run_that_is_none_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="first <= last"):
        seq_runs.neighbours([run], 1, 1)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        seq_runs.neighbours([(1, 1)], -1, 0)
