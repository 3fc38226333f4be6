"""By which threshold a device sets its sampled flag, from its birth message and its reports.

In mode `traceparent` a device compares the top 16 bits of the R that every hop sees: its flag is a consistent decision,
and `th` can name it. In mode `seqref` it throws dice of its own, because the host makes the R of the trace-id from a
key that the device does not have: below 100 % no true `th` can be written for what it samples.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import Final, NamedTuple

import msgspec

from motetrace_host.core.sampling.head import UNKNOWN
from motetrace_host.core.sampling.threshold import of_device

TRACEPARENT: Final = "traceparent"


class _Wire(msgspec.Struct):
    nonce: str
    mode: str = ""
    threshold: int | None = None


_decoder = msgspec.json.Decoder(_Wire)


class BirthSampling(NamedTuple):
    """The sampling part of a birth message; threshold_16 None: it has none."""

    boot_nonce: bytes
    mode: str
    threshold_16: int | None


def threshold(mode: str, threshold_16: int | None) -> int:
    """Compute it.

    Args:
        mode: `traceparent` or `seqref`, from the birth message; "" when there was none.
        threshold_16: 0..65536, from the birth message or from `sampling/reported`; None: not known.
    Returns:
        0..2**56, or `head.UNKNOWN`.
    """
    if threshold_16 == 0 or (threshold_16 is not None and mode == TRACEPARENT):
        return of_device(threshold_16)
    return UNKNOWN


def read_birth(payload: bytes) -> BirthSampling:
    """Read the sampling part of a birth message. Never raises: what is no birth message has none.

    Source: docs/device-messages.md, "birth".
    """
    try:
        wire = _decoder.decode(payload)
        nonce = unhexlify(wire.nonce)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return BirthSampling(b"", "", None)
    in_range = wire.threshold is not None and 0 <= wire.threshold <= 65_536
    return BirthSampling(nonce, wire.mode[:32], wire.threshold if in_range else None)
