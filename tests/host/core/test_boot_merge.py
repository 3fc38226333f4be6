"""Joining two inferred boots: what is refused, what comes out, held against sets of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.ledger import boot_merge, inferred_boots
from motetrace_host.core.ledger.inferred_boots import BootState
from motetrace_host.core.ledger.seen_numbers import SeenNumbers

NUMBERS = st.sets(st.integers(0, 200), min_size=1, max_size=60)
A, B, C = b"aaaaa", b"bbbbb", b"ccccc"


def seen(numbers: set[int], at: int = 1_000) -> SeenNumbers:
    first, *rest = sorted(numbers)
    state = SeenNumbers(first, first, at)
    for number in rest:
        state.add(number, number, at)
    return state


def numbers_of(state: SeenNumbers) -> set[int]:
    return {number for start, end in state.runs() for number in range(start, end + 1)}


@given(NUMBERS, NUMBERS)
def test_what_is_joined_has_the_numbers_of_both_and_counts_what_was_in_both_as_repeated(
    old: set[int], new: set[int]
) -> None:
    older, newer = seen(old), seen(new, 5_000)
    older.duplicates, newer.late, newer.recovered = 3, 2, 1
    late, before = older.late + newer.late, (older.pack(), newer.pack())
    both = boot_merge.merged(older, newer)
    assert numbers_of(both) == old | new
    assert both.count == len(old | new)
    assert both.duplicates == 3 + len(old & new)
    assert (both.late, both.recovered) == (late, 1)
    assert (both.first_unix_ms, both.last_unix_ms) == (1_000, 5_000)
    assert SeenNumbers.unpack(both.pack()) == both
    assert (older.pack(), newer.pack()) == before, "neither is changed"
    assert boot_merge.shared(older, newer) == boot_merge.shared(newer, older) == len(old & new)


def test_a_number_that_neither_has_is_missing_since_it_was_first_missed() -> None:
    both = boot_merge.merged(seen({1, 10}), seen({1, 20}, 5_000))
    assert both.gaps == [(2, 9, 1_000), (11, 19, 5_000)]


def test_a_reboot_is_no_boot_cut_in_two() -> None:
    long, short = seen(set(range(1, 1001))), seen(set(range(1, 101)))
    assert not boot_merge.interleaved(long, short)
    with pytest.raises(ValueError, match="they share 100 numbers, and one boot never sends a number for two readings"):
        boot_merge.check(long, short)


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ({*range(1, 1300)}, {1, *range(1300, 2000)}, True),  # a redelivery of 1 that took long
        ({*range(5, 13), *range(1009, 1018)}, {*range(13, 21), *range(1018, 1030)}, True),  # two devices, bare numbers
        ({*range(1, 100)}, {1}, False),  # a boot of one message
        ({*range(1, 100)}, {1, 2, 3}, False),
        ({*range(500, 1000)}, {*range(1, 400)}, False),  # this shim began late
        ({*range(1, 10)}, {*range(2**21, 2**21 + 10)}, False),
    ],
)
def test_boots_that_take_each_others_gaps_are_noticed(one: set[int], other: set[int], is_one: bool) -> None:
    assert boot_merge.interleaved(seen(one), seen(other)) is is_one
    assert boot_merge.interleaved(seen(other), seen(one)) is is_one
    if is_one:
        boot_merge.check(seen(one), seen(other))


def test_the_inference_goes_on_in_the_boot_that_stays() -> None:
    both = seen({*range(1, 50), 51})
    state = BootState(B, 51, 51, 1, 9, 10, A, 48, 9)
    after = boot_merge.merged_state(state, A, B, both)
    assert (after.boot_nonce, after.highest, after.previous_nonce) == (A, 51, bytes(5))
    assert inferred_boots.observe(after, 52, 11, C)[1] == (A, 52, False, "next")
    assert inferred_boots.observe(after, 50, 11, C)[1] == (A, 50, False, "late")
    assert inferred_boots.observe(after, 49, 11, C)[1] == (A, 49, False, "duplicate")
    later = BootState(C, 5, 5, 1, 9, 10, B, 51, 9)
    after = boot_merge.merged_state(later, A, B, both)
    assert (after.boot_nonce, after.previous_nonce, after.previous_highest) == (C, A, 51)
    unrelated = BootState(C, 5, 5, 1, 9, 10)
    assert boot_merge.merged_state(unrelated, A, B, both) == unrelated
