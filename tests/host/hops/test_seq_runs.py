"""The flat set of runs against Python's own set."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.ledger import runs as seq_runs


@given(st.lists(st.integers(0, 40), max_size=80))
def test_it_holds_exactly_the_numbers_that_were_added(numbers: list[int]) -> None:
    runs: list[int] = []
    grown = sum(seq_runs.add(runs, number) for number in numbers)
    assert {n for start, end in seq_runs.pairs(runs) for n in range(start, end + 1)} == set(numbers)
    assert grown == len(runs) // 2
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(seq_runs.pairs(runs)))
