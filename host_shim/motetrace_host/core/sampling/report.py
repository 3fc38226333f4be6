"""The message `sampling/reported`: what a device says it samples."""

from __future__ import annotations

from binascii import unhexlify
from dataclasses import dataclass
from typing import Final

import msgspec

from motetrace_host.core.errors import WireError

MAX_BYTES: Final = 4096
REFUSALS: Final = {
    "size": "it has more than 256 bytes",
    "json": "it is not a JSON object",
    "nested": "it holds an array or an object",
    "repeated": "it names a member twice",
    "mode": "it has no mode that the device knows",
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


_decoder = msgspec.json.Decoder(_Wire)


@dataclass(frozen=True, slots=True)
class SamplingReport:
    """What is in force on a device.

    Attributes:
        boot_nonce: 5 bytes.
        mode: off, on or inherit.  result: boot, applied, expired, or a key of REFUSALS.
        threshold: 0..65536.  left_s: 0: no end.  refused: wishes refused since boot.
    """

    boot_nonce: bytes
    mode: str
    result: str
    threshold: int
    left_s: int
    refused: int


def parse(payload: bytes) -> SamplingReport:
    """Read what a device reports.

    Args:
        payload: JSON object of at most 4096 bytes; unknown members are passed over.
    Raises:
        WireError: `reported_size`, `reported_format`, `reported_version`, `reported_range`.
    Source: docs/device-messages.md, "sampling/reported".
    """
    if len(payload) > MAX_BYTES:
        raise WireError("reported_size", f"sampling/reported has {len(payload)} bytes; at most {MAX_BYTES}")
    try:
        wire = _decoder.decode(payload)
        nonce = unhexlify(wire.nonce)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError("reported_format", f"sampling/reported is not the expected JSON: {str(error)[:200]}") from error
    if wire.v != 1:
        raise WireError("reported_version", f"sampling/reported has version {wire.v}; this host reads version 1")
    if len(nonce) != 5 or not 0 <= wire.threshold <= 65_536 or not 0 <= wire.left_s <= 2**31 or wire.refused < 0:
        raise WireError("reported_range", "sampling/reported has a nonce, threshold or time out of range")
    return SamplingReport(nonce, wire.mode, wire.result, wire.threshold, wire.left_s, wire.refused)
