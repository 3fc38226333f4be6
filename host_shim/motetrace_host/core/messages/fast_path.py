"""PUBLISH packets of the shape our devices send, read in one step: one context as the first property, nothing unknown.

What is not of such a shape (other properties, other spellings, anything broken) gives None and goes the long way,
through `publish_packet` and `context`, which decide; tests/host/core/test_plain_publish.py holds the two together.
"""

from __future__ import annotations

from binascii import Error, unhexlify
from typing import Final

from motetrace_host.core.messages.record import NO_AGE

_TRACEPARENT: Final = b"&\x00\x0btraceparent\x00\x3700-"
_TRACESTATE: Final = b"&\x00\x0atracestate\x00"
_SEQREF: Final = b"&\x00\x06seqref\x00"
_FLAGS: Final = {b"%02x" % flags: flags & 3 for flags in range(256)}
_TRACEPARENT_PROPERTY: Final = 71
_TRACESTATE_PROPERTY: Final = 15  # and its value
_SEQREF_PROPERTY: Final = 11
_AGE_DIGITS: Final = range(1, 9)
_EXPIRY: Final = 0x02
_MAX_LENGTH: Final = 127 - 5  # of properties whose length has one byte, behind an expiry
NO_EXPIRY: Final = -1


PlainContext = tuple[bytes, int, int, bytes, bytes, int, int, int]
"""The context of such a packet, as a plain tuple because one is made for every message:

boot_nonce (5 bytes), seq (1..2**32-1), flags (0..3), trace_id (16 bytes) and span_id (8 bytes), both b"" for a seqref,
whose ids the host derives, age_ms (0..2**32-1; record.NO_AGE when the device sent none), payload_bytes, and left_s,
what is left of its message expiry interval (0..2**32-1; NO_EXPIRY when it has none).
"""


def read(body: bytes, at: int) -> PlainContext | None:
    """Read properties and payload length of a PUBLISH.

    Args:
        body: the packet behind its remaining length. at: where its property length stands.
    Returns:
        None when the packet is not of a shape this reads.
    Source: docs/wire-format.md, "Carriers"; MQTT 5.0, 3.3.2.3.
    """
    try:
        length, at = body[at], at + 1
        if body[at : at + 19] == _TRACEPARENT:
            return _traceparent(body, at, length, NO_EXPIRY)
        if body[at : at + 10] == _SEQREF:
            return _seqref(body, at, length, NO_EXPIRY)
        if body[at] == _EXPIRY:
            left_s = int.from_bytes(body[at + 1 : at + 5], "big")
            at, length = at + 5, length - 5
            if body[at : at + 19] == _TRACEPARENT:
                return _traceparent(body, at, length, left_s)
            if body[at : at + 10] == _SEQREF:
                return _seqref(body, at, length, left_s)
    except (Error, ValueError, KeyError, IndexError):
        pass
    return None


def _traceparent(body: bytes, at: int, length: int, left_s: int) -> PlainContext | None:
    text = body[at + 19 : at + 71]  # behind the version
    age_ms = NO_AGE
    if length != _TRACEPARENT_PROPERTY:
        if length > _MAX_LENGTH:
            return None
        found = _age(body, at + 71, length - _TRACEPARENT_PROPERTY)
        if found is None:
            return None
        age_ms = found
    if text[32] != 0x2D or text[49] != 0x2D or not text.islower():
        return None
    trace_id = unhexlify(text[:32])
    span_id = unhexlify(text[33:49])
    flags = _FLAGS[text[50:]]
    number = trace_id[5:9]
    seq = int.from_bytes(number, "big")
    if not flags & 2 or number != span_id[4:] or not seq:
        return None
    return trace_id[:5], seq, flags, trace_id, span_id, age_ms, len(body) - at - length, left_s


def _age(body: bytes, at: int, length: int) -> int | None:
    """The age in a tracestate property of `length` bytes that holds our member alone."""
    digits = body[at + _TRACESTATE_PROPERTY + 5 : at + length]
    plain = (
        len(digits) == length - _TRACESTATE_PROPERTY - 5
        and len(digits) in _AGE_DIGITS
        and body[at : at + 14] == _TRACESTATE
        and body[at + 14] == length - _TRACESTATE_PROPERTY
        and body[at + 15 : at + 20] == b"mt=a:"
    )
    # No upper case, sign, underscore or white space, all of which int() takes.
    return int(digits, 16) if plain and digits.isalnum() and digits.lower() == digits else None


def _seqref(body: bytes, at: int, length: int, left_s: int) -> PlainContext | None:
    text = body[at + 11 : at + length]
    if body[at + 10] != length - _SEQREF_PROPERTY or len(text) != body[at + 10] or length > _MAX_LENGTH:
        return None
    digits = text[23:]
    age_ms = NO_AGE
    if len(text) != 22:
        if len(digits) not in _AGE_DIGITS or text[22] != 0x2D or not digits.isalnum():
            return None
        age_ms = int(digits, 16)
    if text[10] != 0x2D or text[19] != 0x2D or text.lower() != text:
        return None
    seq = int.from_bytes(unhexlify(text[11:19]), "big")
    if not seq:
        return None
    flags = _FLAGS[text[20:22]]
    return unhexlify(text[:10]), seq, flags, b"", b"", age_ms, len(body) - at - length, left_s
