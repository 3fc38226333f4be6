"""OpenTelemetry's consistent probability: a rate becomes a threshold T, and a trace is kept when R >= T.

R is the low 56 bits of the trace-id, the ones that a motetrace id has at random, or the explicit `rv` of a tracestate.
All that compare the same R keep the same traces, and one that keeps fewer keeps some of those.

Why T is rounded to few digits before it is compared: the `th` that is written must be the one that decided.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

from motetrace_host.core.errors import WireError

NEVER: Final = 2**56
"""The threshold that nothing reaches: a rate of 0. It has no `th`."""
ALWAYS: Final = 0
DEFAULT_DIGITS: Final = 4
MAX_DIGITS: Final = 14
_LOWEST: Final = Fraction(1, NEVER)
_RATE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})(?:([eE]-[0-9]{1,2})|/([0-9]{1,20}))?[ ]?(%)?")
_TH: Final = re.compile(r"[0-9a-fA-F]{1,14}")
_RV: Final = re.compile(r"[0-9a-fA-F]{14}")
_BELOW_NOTHING: Final = b"\xff" * 8


def parse_rate(text: str) -> Fraction:
    """Read the share of traces to keep.

    Args:
        text: `100%`, `1 %`, `0.01`, `1e-3`, `1/1000`; 0 keeps nothing. A number without `%` is a share, so 10 is none.
    Returns:
        0, or 2**-56..1, exactly what was written.
    Raises:
        ValueError: it is no such text, or out of range.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is no rate; write 10%, 0.1 or 1/10")
    number, exponent, divisor, percent = match.groups()
    if divisor is not None and (not int(divisor) or percent or "." in number):
        raise ValueError(f"{text[:40]!r} is no rate; a fraction is whole numbers such as 1/1000")
    rate = Fraction(number + (exponent or "")) / (int(divisor or 1) * (100 if percent else 1))
    if rate > 1:
        raise ValueError(f"{text[:40]!r} is above 1; allowed are 0..1 and 0%..100% (a number without % is no percent)")
    if 0 < rate < _LOWEST:
        raise ValueError(f"{text[:40]!r} is below 2**-56, the lowest that differs from 0")
    return rate


def format_rate(rate: Fraction) -> str:
    """Write a rate for people: percent, in as many digits as a rounded threshold is true to, 4."""
    return f"{float(rate * 100):.4g}%"


def of_rate(rate: Fraction, digits: int = DEFAULT_DIGITS) -> int:
    """Compute the threshold of a rate, rounded as the specification does.

    Args:
        rate: 0, or 2**-56..1.
        digits: significant hex digits, 1..14. Leading f come on top: without them 1 in a million would be nothing.
    Returns:
        0..2**56: 0 keeps all, 2**56 nothing.
    Raises:
        ValueError: out of range.
    Source: OpenTelemetry, "TraceState: Probability Sampling", algorithms; tests/vectors/sampling.json.
    """
    if not 1 <= digits <= MAX_DIGITS:
        raise ValueError(f"{digits} digits of precision; allowed are 1..{MAX_DIGITS}")
    if rate == 0:
        return NEVER
    if not _LOWEST <= rate <= 1:
        raise ValueError(f"rate {float(rate):g} is outside 2**-56..1; 0 keeps nothing")
    unit = 1 << 4 * (MAX_DIGITS - min(MAX_DIGITS, digits + _leading_fs(rate)))
    exact = (1 - rate) * NEVER
    return math.floor(exact / unit + Fraction(1, 2)) * unit  # half up, as adding half a digit and cutting does


def _leading_fs(rate: Fraction) -> int:
    """How many digits f a threshold begins with, by the binary exponent of the rate: 0.01 has one, fd70a..."""
    exponent = rate.numerator.bit_length() - rate.denominator.bit_length()
    if rate >= (Fraction(2**exponent) if exponent >= 0 else Fraction(1, 2**-exponent)):
        exponent += 1
    return max(0, -exponent // 4)


def rate_of(threshold: int) -> Fraction:
    """Compute the share that a threshold of 0..2**56 keeps; 1 divided by it is the adjusted count."""
    return Fraction(NEVER - threshold, NEVER)


def of_device(threshold_16: int) -> int:
    """Widen a device's threshold: it compares the top 16 bits of the same R, 0..65536."""
    return threshold_16 << 40


def randomness(trace_id: bytes) -> int:
    """Take R out of a trace-id of 16 bytes: its right-most 7."""
    return int.from_bytes(trace_id[9:], "big")


def threshold_bytes(threshold: int) -> bytes:
    """Write T as bytes: `trace_id[9:] >= threshold_bytes(T)` is `randomness(trace_id) >= T`, at half the price.

    Args:
        threshold: 0..2**56.
    Returns:
        7 bytes; 8 bytes ff for 2**56, which no 7 bytes reach.
    """
    return _BELOW_NOTHING if threshold >= NEVER else threshold.to_bytes(7, "big")


def parse_th(text: str) -> int:
    """Read a `th` value, 1 to 14 hex digits of either case with zeros cut on the right, as 0..2**56-1.

    Raises:
        WireError: `th_format`.
    Source: OpenTelemetry, "TraceState Handling", th.
    """
    if _TH.fullmatch(text) is None:
        raise WireError("th_format", f"th {text[:40]!r} in tracestate's ot is not 1 to 14 hex digits")
    return int(text, 16) << 4 * (MAX_DIGITS - len(text))


def parse_rv(text: str) -> int:
    """Read an `rv` value, R made explicit by the first service of the trace: exactly 14 hex digits, as 0..2**56-1.

    Raises:
        WireError: `rv_format`.
    Source: OpenTelemetry, "TraceState Handling", rv.
    """
    if _RV.fullmatch(text) is None:
        raise WireError("rv_format", f"rv {text[:40]!r} in tracestate's ot is not 14 hex digits")
    return int(text, 16)


def format_th(threshold: int) -> str:
    """Write a threshold of 0..2**56-1 as `th`: 1 to 14 lower-case hex digits without zeros on the right, `0` for 0.

    Raises:
        ValueError: out of range; a rate of 0 has no `th`, because what is not kept carries none.
    """
    if not 0 <= threshold < NEVER:
        raise ValueError(f"threshold {threshold} has no th; allowed are 0..2**56-1")
    return f"{threshold:014x}".rstrip("0") or "0"
