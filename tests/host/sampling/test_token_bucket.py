"""Promises of core/sampling/token_bucket.py, against a slow bucket in fractions."""

import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.sampling.token_bucket import Allowance, DeviceBuckets, TokenBucket

SECOND_NS = 10**9
ALLOWANCES = st.builds(
    Allowance, st.integers(1, 1000), st.sampled_from([7, SECOND_NS, 60 * SECOND_NS]), st.integers(1, 50)
)
# Steps of the clock between two questions, back too.
STEPS = st.lists(
    st.one_of(st.integers(0, 3 * SECOND_NS), st.integers(-3600 * SECOND_NS, 3600 * SECOND_NS)), max_size=200
)


class Slow:
    """A bucket in fractions of a token, filled step by step."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance, self.tokens, self.last_ns = allowance, Fraction(allowance.burst), 0

    def take(self, now_ns: int) -> bool:
        passed = max(0, now_ns - self.last_ns)
        self.last_ns = now_ns
        self.tokens += Fraction(passed * self.allowance.tokens, self.allowance.period_ns)
        self.tokens = min(Fraction(self.allowance.burst), self.tokens)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@given(ALLOWANCES, STEPS)
def test_it_takes_and_refuses_as_the_slow_bucket_does(allowance: Allowance, steps: list[int]) -> None:
    fast, many, slow = TokenBucket(allowance), DeviceBuckets(allowance, 1), Slow(allowance)
    now_ns = 10**18
    for step in steps:
        now_ns = max(0, now_ns + step)
        taken = slow.take(now_ns)
        assert fast.take(now_ns) is taken
        assert many.take("d", now_ns) is taken


@given(ALLOWANCES, STEPS)
def test_a_clock_that_steps_never_yields_more_than_its_ways_forward(allowance: Allowance, steps: list[int]) -> None:
    bucket = TokenBucket(allowance)
    now_ns, forward_ns, taken = 10**18, 0, 0
    bucket.take(now_ns)
    for step in steps:
        now_ns += step
        forward_ns += max(0, step)
        taken += bucket.take(now_ns)
    assert taken <= allowance.burst + Fraction(forward_ns * allowance.tokens, allowance.period_ns)


def test_a_step_back_does_not_stop_it_for_the_length_of_the_step() -> None:
    bucket = TokenBucket(Allowance(1, SECOND_NS, 1))
    assert bucket.take(10**18)
    assert not bucket.take(10**18 - 3600 * SECOND_NS)
    assert bucket.take(10**18 - 3599 * SECOND_NS)


def test_devices_have_buckets_of_their_own() -> None:
    buckets = DeviceBuckets(Allowance(2, SECOND_NS, 2), 10)
    assert [buckets.take(device, 0) for device in "aaabbb"] == [True, True, False, True, True, False]


def test_the_device_not_asked_for_longest_goes_and_is_counted() -> None:
    buckets = DeviceBuckets(Allowance(1, SECOND_NS, 1), 2)
    for device in ("a", "b", "a", "c"):  # b goes
        buckets.take(device, 0)
    assert (len(buckets), buckets.evicted) == (2, 1)
    assert not buckets.take("a", 0)
    assert buckets.take("b", 0)  # full again


def test_a_device_takes_at_most_400_bytes() -> None:
    names = [f"sensor-{number:06}" for number in range(10_000)]
    tracemalloc.start()
    try:
        buckets = DeviceBuckets(Allowance(10, SECOND_NS, 10), len(names))
        for number, name in enumerate(names):
            buckets.take(name, 10**18 + number)
        each = tracemalloc.get_traced_memory()[0] / len(names) + len(names[0]) + 49  # with its name
    finally:
        tracemalloc.stop()
    assert each <= 400, each


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_an_allowance_of_nothing_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Allowance(*wrong)
