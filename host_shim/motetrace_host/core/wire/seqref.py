"""The compact context of 22 characters: boot nonce, message number, flags, and optionally the reading's age.

3f2a9c01d4-0000002a-03            boot, message number and flags
3f2a9c01d4-0000002a-03-00001f4    and the age of the reading, 500 ms
"""

from __future__ import annotations

from binascii import unhexlify
from typing import Final, NamedTuple

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire.traceparent import KNOWN_FLAGS

LENGTH: Final = 22
MAX_LENGTH: Final = 31


class Seqref(NamedTuple):
    """One seqref.

    Args:
        boot_nonce: 5 bytes.
        seq: 1..2**32-1.
        flags: 0..3, trace-flags: sampled (1) and random (2) as received.
        age_ms: 0..2**32-1 from sensor read to publish, or None when the device sends none.
    Source: docs/wire-format.md, "seqref".
    """

    boot_nonce: bytes
    seq: int
    flags: int
    age_ms: int | None = None


def parse(text: str) -> Seqref:
    """Read a seqref. Strict: lower case, no white space.

    Args:
        text: 22 characters, or 24 to 31 with an age.
    Returns:
        Its parts; flag bits without a meaning are dropped.
    Raises:
        WireError: `seqref_length`, `seqref_format` (dashes, digits, upper case), `seqref_zero_seq`.
    Source: docs/wire-format.md, "seqref"; tests/vectors/seqref.json.
    """
    length = len(text)
    if length != LENGTH and not LENGTH + 2 <= length <= MAX_LENGTH:
        raise WireError("seqref_length", f"seqref has {length} characters; 22, or 24 to 31 with an age")
    if text[10] != "-" or text[19] != "-" or text.lower() != text or (length > LENGTH and text[LENGTH] != "-"):
        raise _format_error(text)
    age_ms: int | None = None
    try:
        boot_nonce = unhexlify(text[:10])
        seq = int.from_bytes(unhexlify(text[11:19]), "big")
        flags = unhexlify(text[20:LENGTH])[0] & KNOWN_FLAGS
        if length > LENGTH:
            # unhexlify and not int(): int() takes signs, underscores and white space
            age_ms = int.from_bytes(unhexlify(text[LENGTH + 1 :].rjust(8, "0")), "big")
    except ValueError as exc:
        raise _format_error(text) from exc
    if seq == 0:
        raise WireError("seqref_zero_seq", "seqref's seq is 0; the first message of a boot has seq 1")
    return Seqref(boot_nonce, seq, flags, age_ms)


def _format_error(text: str) -> WireError:
    return WireError(
        "seqref_format",
        f"seqref {text[:MAX_LENGTH]!r} is not 10, 8 and 2 lower-case hex digits, optionally 1..8 of age, joined by '-'",
    )
