"""The message `sampling/desired`: at which rate an operator wants a device to sample, and its shim to keep."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import msgspec

from motetrace_host.core.sampling.threshold import parse_rate
from motetrace_host.core.wire.side_message import SideMessage

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


_MESSAGE: Final = SideMessage(_Wire, "desired", "sampling/desired", MAX_BYTES)


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """What an operator asks of one device.

    Attributes:
        mode: off, on or inherit.
        rate: 0..1, for `on`.
        for_s: 0..2592000; 0: without end.
        until_unix_s: when it is to end by the operator's clock; 0: not given. Devices ignore it, they have no clock;
            a shim needs it to know how old a retained request is.
    """

    mode: str
    rate: Fraction = Fraction(1)
    for_s: int = 0
    until_unix_s: int = 0


def parse(payload: bytes) -> SamplingRequest:
    """Read a request as a device reads it. (A device also refuses a member named twice, or unknown and nested.)

    Args:
        payload: JSON object of at most 256 bytes; empty (the retained one was deleted) is `inherit`.
    Raises:
        WireError: `desired_size`, `desired_format`, `desired_mode`, `desired_rate`, `desired_for_s`.
    Source: docs/device-messages.md, "sampling/desired".
    """
    if not payload:
        return SamplingRequest(INHERIT)
    wire = _MESSAGE.read(payload)
    if wire.mode not in _MODES:
        raise _MESSAGE.fault("mode", f"has mode {wire.mode[:20]!r}; allowed are off, on and inherit")
    try:
        rate = Fraction(1) if wire.rate is None else _rate(wire.rate)
    except ValueError as error:
        raise _MESSAGE.fault("rate", f"has a wrong rate: {error}") from error
    for_s = wire.for_s or 0
    if not 0 <= for_s <= MAX_FOR_S or for_s != int(for_s):
        raise _MESSAGE.fault("for_s", f"has for_s {for_s:g}; whole seconds of 0..{MAX_FOR_S}")
    until = wire.until
    return SamplingRequest(wire.mode, rate, int(for_s), int(until) if until is not None and 0 < until < 2**33 else 0)


def _rate(rate: float | str) -> Fraction:
    if isinstance(rate, str):
        if "/" in rate or " " in rate:
            raise ValueError(f"{rate[:40]!r} is no rate to a device; write 0.1 or 10%")
        return parse_rate(rate)
    if not 0 <= rate <= 1:
        raise ValueError(f"{rate:g} is outside 0..1")
    # By its digits, as a device reads it; a device takes what is below 1e-8 for 0.
    return Fraction(repr(rate)) if rate >= 1 / _DEVICE_UNITS else Fraction(0)


def format(request: SamplingRequest) -> bytes:
    """Write a request so that any device reads it: the rate in at most 8 decimals, never below what those can express.

    Raises:
        ValueError: a member is out of range, or the rate is not 0 and below 0.00000001.
    """
    if request.mode not in _MODES:
        raise ValueError(f"mode {request.mode!r}; allowed are off, on and inherit")
    if not 0 <= request.for_s <= MAX_FOR_S:
        raise ValueError(f"{request.for_s} s; allowed are 0..{MAX_FOR_S} s (30 days), 0: without end")
    members = [f'"mode":"{request.mode}"']
    if request.mode == ON:
        units = _units(request.rate)
        if request.rate and not units:
            raise ValueError(f"rate {float(request.rate):g} is below 0.00000001, the lowest that devices read")
        whole, part = divmod(units, _DEVICE_UNITS)
        members.append('"rate":' + f"{whole}.{part:08d}".rstrip("0").rstrip("."))
    if request.for_s:
        members.append(f'"for_s":{request.for_s}')
    if request.until_unix_s:
        members.append(f'"until":{request.until_unix_s}')
    return ("{" + ",".join(members) + "}").encode()


def _units(rate: Fraction) -> int:
    return round(rate * _DEVICE_UNITS)


def device_threshold(request: SamplingRequest) -> int:
    """Compute the threshold that a device sets by this request, 0..65536; meaningless for `inherit`.

    Source: docs/device-messages.md, "sampling/desired": decimal arithmetic, round((1 - rate) * 65536).
    """
    if request.mode == OFF:
        return 65_536
    return 65_536 - (2 * 65_536 * _units(request.rate) + _DEVICE_UNITS) // (2 * _DEVICE_UNITS)
