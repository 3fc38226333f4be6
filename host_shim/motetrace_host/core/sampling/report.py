"""The message `sampling/reported`: the sampling that is in force on a device."""

from __future__ import annotations

from binascii import unhexlify
from dataclasses import dataclass
from typing import Final

import msgspec

from motetrace_host.core.wire.side_message import SideMessage

REFUSALS: Final = {
    "size": "it has more than 256 bytes",
    "json": "it is not a JSON object",
    "nested": "it holds an array or an object",
    "repeated": "it names a member twice",
    "mode": "it has no mode that the device has",
    "rate": "its rate is not in 0..1 or 0 %..100 %",
    "for_s": "its time is not a whole number of 0..2592000 seconds",
}


class _Wire(msgspec.Struct):
    v: int
    nonce: str
    mode: str
    result: str
    threshold: int
    left_s: int = 0
    refused: int = 0


_MESSAGE: Final = SideMessage(_Wire, "reported", "sampling/reported", 4096)


@dataclass(frozen=True, slots=True)
class SamplingReport:
    """What is in force on a device.

    Attributes:
        boot_nonce: 5 bytes.
        mode: off, on or inherit.  result: boot, applied, expired, or a key of REFUSALS.
        threshold: 0..65536.  left_s: 0: no end.  refused: requests refused since boot.
    """

    boot_nonce: bytes
    mode: str
    result: str
    threshold: int
    left_s: int
    refused: int


def parse(payload: bytes) -> SamplingReport:
    """Read what a device reports, a JSON object of at most 4096 bytes; unknown members are ignored.

    Raises:
        WireError: `reported_size`, `reported_format`, `reported_version`, `reported_range`.
    Source: docs/device-messages.md, "sampling/reported".
    """
    wire = _MESSAGE.read(payload)
    try:
        nonce = unhexlify(wire.nonce)
    except ValueError as error:
        raise _MESSAGE.fault("format", f"has nonce {wire.nonce[:20]!r}, which is not hex digits") from error
    if len(nonce) != 5 or not 0 <= wire.threshold <= 65_536 or not 0 <= wire.left_s <= 2**31 or wire.refused < 0:
        raise _MESSAGE.fault("range", "has a nonce, threshold or time out of range")
    return SamplingReport(nonce, wire.mode, wire.result, wire.threshold, wire.left_s, wire.refused)
