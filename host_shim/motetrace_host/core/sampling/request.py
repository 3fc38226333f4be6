"""The message `sampling/desired`: what an operator wants a device to sample, and its shim to keep."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import msgspec

from motetrace_host.core.errors import WireError
from motetrace_host.core.sampling.threshold import parse_rate

MAX_BYTES: Final = 256
MAX_FOR_S: Final = 2_592_000  # 30 days
OFF, ON, INHERIT = "off", "on", "inherit"
_MODES: Final = (OFF, ON, INHERIT)
_DEVICE_UNITS: Final = 10**8  # a device reads rates to 8 decimals


class _Wire(msgspec.Struct):
    mode: str
    rate: float | str | None = None
    for_s: float | None = None
    until: float | None = None


_decoder = msgspec.json.Decoder(_Wire)


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """A wish.

    Attributes:
        mode: off, on or inherit.
        rate: 0..1, for `on`.
        for_s: 0..2592000; 0: without end.
        until_unix_s: when it was to end by the operator's clock; 0: not told. Devices pass over it, they have no clock;
            a shim needs it to know how old a retained wish is.
    """

    mode: str
    rate: Fraction = Fraction(1)
    for_s: int = 0
    until_unix_s: int = 0


def parse(payload: bytes) -> SamplingRequest:
    """Read a wish as a device reads it. (A device also refuses a member named twice, or unknown and nested.)

    Args:
        payload: JSON object of at most 256 bytes; empty (the retained one was deleted) is `inherit`.
    Raises:
        WireError: `desired_size`, `desired_format`, `desired_mode`, `desired_rate`, `desired_for_s`.
    Source: docs/device-messages.md, "sampling/desired".
    """
    if not payload:
        return SamplingRequest(INHERIT)
    if len(payload) > MAX_BYTES:
        raise WireError("desired_size", f"sampling/desired has {len(payload)} bytes; at most {MAX_BYTES}")
    try:
        wire = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("desired_format", f"sampling/desired is not the expected JSON: {str(error)[:200]}") from error
    if wire.mode not in _MODES:
        raise WireError("desired_mode", f"mode {wire.mode[:20]!r}; allowed are off, on and inherit")
    return SamplingRequest(wire.mode, _rate(wire.rate), _seconds(wire.for_s), _unix_s(wire.until))


def _rate(rate: float | str | None) -> Fraction:
    if rate is None:
        return Fraction(1)
    try:
        return _written(rate) if isinstance(rate, str) else _share(rate)
    except ValueError as error:
        raise WireError("desired_rate", f"rate: {error}") from error


def _written(rate: str) -> Fraction:
    if "/" in rate or " " in rate:
        raise ValueError(f"{rate[:40]!r} is no rate to a device; write 0.1 or 10%")
    return parse_rate(rate)


def _share(rate: float) -> Fraction:
    if not 0 <= rate <= 1:
        raise ValueError(f"{rate:g} is outside 0..1")
    # By its digits, as a device reads it; a device takes what is below 1e-8 for 0.
    return Fraction(repr(rate)) if rate >= 1 / _DEVICE_UNITS else Fraction(0)


def _seconds(for_s: float | None) -> int:
    if for_s is None:
        return 0
    if not 0 <= for_s <= MAX_FOR_S or for_s != int(for_s):
        raise WireError("desired_for_s", f"for_s {for_s:g}; whole seconds of 0..{MAX_FOR_S}")
    return int(for_s)


def _unix_s(until: float | None) -> int:
    return int(until) if until is not None and 0 < until < 2**33 else 0


def format(wish: SamplingRequest) -> bytes:
    """Write a wish so that any device reads it: the rate in at most 8 decimals, never below what those can say.

    Raises:
        ValueError: a member is out of range, or the rate is not 0 and below 0.00000001.
    """
    if wish.mode not in _MODES:
        raise ValueError(f"mode {wish.mode!r}; allowed are off, on and inherit")
    if not 0 <= wish.for_s <= MAX_FOR_S:
        raise ValueError(f"{wish.for_s} s; allowed are 0..{MAX_FOR_S} s (30 days), 0: without end")
    members = [f'"mode":"{wish.mode}"']
    if wish.mode == ON:
        members.append(f'"rate":{_decimal(wish.rate)}')
    if wish.for_s:
        members.append(f'"for_s":{wish.for_s}')
    if wish.until_unix_s:
        members.append(f'"until":{wish.until_unix_s}')
    return ("{" + ",".join(members) + "}").encode()


def _decimal(rate: Fraction) -> str:
    units = _units(rate)
    if rate and not units:
        raise ValueError(f"rate {float(rate):g} is below 0.00000001, the lowest that devices read")
    whole, part = divmod(units, _DEVICE_UNITS)
    return f"{whole}.{part:08d}".rstrip("0").rstrip(".")


def _units(rate: Fraction) -> int:
    return round(rate * _DEVICE_UNITS)


def device_threshold(wish: SamplingRequest) -> int:
    """Compute the threshold a device sets by this wish, 0..65536; meaningless for `inherit`.

    Source: docs/device-messages.md, "sampling/desired": decimal arithmetic, round((1 - rate) * 65536).
    """
    if wish.mode == OFF:
        return 65_536
    return 65_536 - (2 * 65_536 * _units(wish.rate) + _DEVICE_UNITS) // (2 * _DEVICE_UNITS)
