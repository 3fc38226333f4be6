"""What a span shows the tail: that it failed, that it was slow, that a function had to start. Read from its OTLP bytes.

Why not by the protobuf library: a span of a stage costs 20 us to parse, and most show nothing. Status and times
are columns of the row; for the two attributes the bytes are searched first, and walked only when their names are there.
"""

from __future__ import annotations

from typing import Final

from motetrace_host.core.spans.protobuf import fields
from motetrace_host.core.spans.span import SpanRow, Status

ERROR: Final = 1
LOST: Final = 2
SLOW: Final = 4
COLD_START: Final = 8
NEIGHBOUR: Final = 16
ALL: Final = 31

_NS_PER_MS: Final = 1_000_000
_ATTRIBUTES: Final = 9  # of trace.proto's Span
_TRUE: Final = b"\x10\x01"  # AnyValue.bool_value, as every encoder writes it
_ERROR_TEXT: Final = b"\x0a\x05error"  # AnyValue.string_value
_SHOWING: Final = {
    (b"function.cold_start", _TRUE): COLD_START,
    (b"faas.coldstart", _TRUE): COLD_START,
    (b"db.status", _ERROR_TEXT): ERROR,
}
_NAMES: Final = tuple({name for name, _ in _SHOWING})


def facts(row: SpanRow, slow_ms: int) -> int:
    """Find out what a span shows.

    Args:
        row: as it is stored.
        slow_ms: spans of this length and longer are SLOW; 0: none is.
    Returns:
        Bits ERROR, SLOW and COLD_START. ERROR: its status, or `db.status` is `error`.
    Source: docs/spans.md.
    """
    found = ERROR if row.status == Status.ERROR else 0
    if slow_ms and row.end_unix_ns - row.start_unix_ns >= slow_ms * _NS_PER_MS:
        found |= SLOW
    if any(name in row.span for name in _NAMES):
        found |= _in_attributes(row.span)
    return found


def _in_attributes(span: bytes) -> int:
    found = 0
    try:
        for number, content in fields(memoryview(span)):
            if number == _ATTRIBUTES and content is not None:
                found |= _SHOWING.get(_key_and_value(content), 0)
    except ValueError:  # what was stored was found good before
        return found
    return found


def _key_and_value(attribute: memoryview) -> tuple[bytes, bytes]:
    parts = {number: bytes(content) for number, content in fields(attribute) if content is not None}
    return parts.get(1, b""), parts.get(2, b"")
