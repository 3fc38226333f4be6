"""Promises of core/sampling/threshold.py: the specification's arithmetic, to the digit."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.threshold import NEVER

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sampling.json").read_text())
RATES = st.fractions(Fraction(1, NEVER), 1, max_denominator=NEVER)
THRESHOLDS = st.integers(0, NEVER)
PREFIX = bytes(9)


@pytest.mark.parametrize("case", VECTORS["th"], ids=lambda case: case["rate"])
def test_a_rate_becomes_the_specifications_threshold(case: dict) -> None:
    for digits, text in case["digits"].items():
        threshold = thresholds.of_rate(thresholds.parse_rate(case["rate"]), int(digits))
        assert threshold == NEVER if text is None else thresholds.format_th(threshold) == text


@pytest.mark.parametrize("text", VECTORS["refused"])
def test_what_is_no_rate_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 10%|0\.\.1|2\*\*-56|1/1000"):
        thresholds.parse_rate(text)


@pytest.mark.parametrize("case", VECTORS["decisions"], ids=lambda case: f"{case['random']}-{case['th']}")
def test_a_trace_is_kept_when_its_low_56_bits_reach_the_threshold(case: dict) -> None:
    threshold = thresholds.parse_th(case["th"])
    for left in (PREFIX, b"\xff" * 9):  # what stands to the left has no say
        trace_id = left + bytes.fromhex(case["random"])
        assert (thresholds.randomness(trace_id) >= threshold) is case["keep"]
        assert (trace_id[9:] >= thresholds.threshold_bytes(threshold)) is case["keep"]


@pytest.mark.parametrize("case", VECTORS["th_text"], ids=lambda case: repr(case["text"]))
def test_th_is_read_as_the_specification_says(case: dict) -> None:
    if case.get("refused"):
        with pytest.raises(WireError) as caught:
            thresholds.parse_th(case["text"])
        assert caught.value.reason == "th_format"
    else:
        assert thresholds.parse_th(case["text"]) == int(case["threshold"], 16)


def specification(probability: float, precision: int) -> str:
    """The specification's own floating-point method, in other words: round 2 - p up by half a digit, cut its hex."""
    if probability == 1:
        return "0"
    exponent = math.frexp(probability)[1]
    digits = max(1, min(12, precision + exponent // -4))
    shifted = 2 - probability + math.ldexp(0.5, -4 * digits)
    text = "f" * 13 if shifted >= 2 else shifted.hex()[4:-3]
    return text[:digits].rstrip("0")


@given(st.floats(1e-6, 1 - 1e-9), st.integers(1, 6))
def test_it_agrees_with_the_specifications_own_method_wherever_floating_point_reaches(rate: float, digits: int) -> None:
    ours = thresholds.format_th(thresholds.of_rate(Fraction(rate), digits))
    theirs = specification(rate, digits) or "0"
    unit = 16 ** (14 - len(max(ours, theirs, key=len)))
    # Theirs rounds twice, first to the 52 bits of 2 - p: at an exact tie it may fall one digit beside.
    assert abs(thresholds.parse_th(ours) - thresholds.parse_th(theirs)) in (0, unit)
    if ours != theirs:
        exact = (1 - Fraction(rate)) * NEVER
        assert abs(abs(exact - thresholds.parse_th(ours)) - Fraction(unit, 2)) <= 16


@given(RATES, st.integers(1, 14))
def test_a_threshold_is_within_half_a_digit_of_the_rate_and_never_keeps_nothing(rate: Fraction, digits: int) -> None:
    threshold = thresholds.of_rate(rate, digits)
    assert 0 <= threshold < NEVER
    kept = thresholds.rate_of(threshold)
    assert abs(kept - rate) / rate <= Fraction(8, 16**digits) or abs(kept - rate) <= Fraction(1, 2 * NEVER)


@given(RATES, RATES)
def test_a_lower_rate_never_has_a_lower_threshold(one: Fraction, other: Fraction) -> None:
    low, high = sorted((one, other))
    # With leading f the precision changes in steps, so that only one and the same number of digits is comparable.
    assert thresholds.of_rate(low, 14) >= thresholds.of_rate(high, 14)


@given(st.integers(0, NEVER - 1))
def test_th_is_read_back_from_as_few_digits_as_say_it(threshold: int) -> None:
    text = thresholds.format_th(threshold)
    assert thresholds.parse_th(text) == threshold
    assert text == "0" or not text.endswith("0")


@given(st.binary(min_size=16, max_size=16), THRESHOLDS)
def test_comparing_bytes_is_comparing_numbers(trace_id: bytes, threshold: int) -> None:
    assert (trace_id[9:] >= thresholds.threshold_bytes(threshold)) is (thresholds.randomness(trace_id) >= threshold)


@given(st.integers(0, 65_535), st.binary(min_size=16, max_size=16))
def test_a_devices_16_bits_decide_what_its_widened_threshold_decides(threshold_16: int, trace_id: bytes) -> None:
    by_device = int.from_bytes(trace_id[9:11], "big") >= threshold_16
    assert by_device is (thresholds.randomness(trace_id) >= thresholds.of_device(threshold_16))
    assert thresholds.of_device(65_536) == NEVER


@pytest.mark.parametrize("threshold", [-1, NEVER])
def test_what_keeps_nothing_has_no_th(threshold: int) -> None:
    with pytest.raises(ValueError, match="no th"):
        thresholds.format_th(threshold)


@pytest.mark.parametrize(
    ("rate", "digits"), [(Fraction(-1), 4), (Fraction(2), 4), (Fraction(1, 2), 0), (Fraction(1), 15)]
)
def test_what_is_out_of_range_is_refused(rate: Fraction, digits: int) -> None:
    with pytest.raises(ValueError, match=r"\.\."):
        thresholds.of_rate(rate, digits)


@given(st.text(max_size=30))
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    try:
        assert 0 <= thresholds.parse_rate(text) <= 1
    except ValueError as error:
        assert not isinstance(error, UnicodeError)


@given(st.text("0123456789abcdefABCDEF\n x", max_size=16))
def test_rv_is_exactly_14_hex_digits(text: str) -> None:
    try:
        value = thresholds.parse_rv(text)
    except WireError as error:
        assert error.reason == "rv_format"
        assert len(text) != 14 or set(text) & {"\n", " ", "x"}
    else:
        assert value == int(text, 16) and len(text) == 14


def test_a_rate_is_shown_in_percent() -> None:
    shown = [thresholds.format_rate(thresholds.parse_rate(text)) for text in ("1", "0.01", "1/3", "0", "1/1000000")]
    assert shown == ["100%", "1%", "33.33%", "0%", "0.0001%"]
