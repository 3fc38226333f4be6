"""docs/device-speed.md's ratios, by counting instructions: they do not depend on what else the machine does."""

import functools

import pytest

from tests.benchmarks import device_encoder
from tests.benchmarks.instructions import CountingError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RATIOS = (  # the one-liner's instructions are at least so many times those of this subject
    ("traceparent", False, 3.5),
    ("seqref", False, 5.5),
    ("traceparent, machine code", True, 7.0),
    ("seqref, machine code", True, 11.0),
)


@functools.cache
def count(bits: int, name: str, fast: bool) -> float:
    try:
        return device_encoder.instructions(bits, name, fast=fast)
    except CountingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("name", "fast", "ratio"), RATIOS)
def test_a_context_costs_a_fraction_of_the_one_liners_instructions(
    bits: int, name: str, fast: bool, ratio: float
) -> None:
    assert count(bits, "one-liner", False) / count(bits, name, fast) >= ratio


def test_the_same_calls_take_the_same_instructions_each_time() -> None:
    first = count(32, "seqref", False)
    count.cache_clear()
    assert abs(count(32, "seqref", False) - first) <= first / 50
