"""Span to OTLP bytes, written by hand.

Why not the protobuf library: two spans are made for each message, and building message objects costs several times as
much; attributes repeat from span to span, so their bytes are kept. tests/host/spans/test_otlp.py holds the result
against the protobuf library's.
Source: opentelemetry-proto trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from motetrace_host.core.protobuf_wire import delimited, varint
from motetrace_host.core.span import Attributes, AttributeValue, Link, Span, SpanRow

SCOPE = delimited(b"\x0a", b"motetrace")  # InstrumentationScope.name
# The cache holds at most this many values of at most this length each: about 2 MB, whatever devices send.
_CACHED_VALUES, _CACHED_LENGTH = 4096, 256
_INT64 = range(-(2**63), 2**63)
_LAST_UNIX_NS = 2**63 - 1  # SQLite's integers are signed


def pack(span: Span) -> SpanRow:
    """Make the row that stores a span.

    Raises:
        ValueError: an id, time, flag or number is out of range; names it and the range.
        TypeError: an attribute is none of str, bool, int, float.
    """
    return SpanRow(
        span.trace_id,
        span.span_id,
        span.name,
        span.start_unix_ns,
        span.end_unix_ns,
        int(span.status),
        encode_resource(span.service_name, span.resource),
        SCOPE,
        encode(span),
    )


def encode(span: Span) -> bytes:
    """Encode one span as an OTLP Span message; resource and service name are not part of it. Raises as `pack` does."""
    _check(span)
    parts = [b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id]
    if span.tracestate:
        parts.append(delimited(b"\x1a", _utf8(span.tracestate)))
    if span.parent_id is not None:
        parts += (b"\x22\x08", span.parent_id)
    parts += (
        delimited(b"\x2a", _utf8(span.name)),
        b"\x30",
        varint(span.kind),
        _TIMES.pack(0x39, span.start_unix_ns, 0x41, span.end_unix_ns),
        _attributes(b"\x4a", span.attributes),
    )
    parts += [delimited(b"\x6a", _link(link)) for link in span.links]
    if span.status or span.status_message:
        message = delimited(b"\x12", _utf8(span.status_message)) if span.status_message else b""
        parts.append(delimited(b"\x7a", message + b"\x18" + varint(span.status)))
    if span.flags:
        parts.append(b"\x85\x01" + span.flags.to_bytes(4, "little"))
    return b"".join(parts)


def encode_resource(service_name: str, extra: Attributes | None = None) -> bytes:
    """Encode an OTLP Resource: service.name first, then the others in their order."""
    return _attributes(b"\x0a", {"service.name": service_name, **extra} if extra else {"service.name": service_name})


def encode_attributes(attributes: Attributes) -> bytes:
    """Encode the attributes of a span, in their order."""
    return _attributes(b"\x4a", attributes)


_TIMES = struct.Struct("<BQBQ")


def _check(span: Span) -> None:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        raise ValueError(f"trace_id {span.trace_id.hex()!r}: 16 bytes, not all zero")
    for what, span_id in (("span_id", span.span_id), ("parent_id", span.parent_id)):
        if span_id is not None and (len(span_id) != 8 or not any(span_id)):
            raise ValueError(f"{what} {span_id.hex()!r}: 8 bytes, not all zero")
    for what, unix_ns in (("start_unix_ns", span.start_unix_ns), ("end_unix_ns", span.end_unix_ns)):
        if not 0 < unix_ns <= _LAST_UNIX_NS:
            raise ValueError(f"{what} {unix_ns}: 1..2**63-1")
    if not 0 <= span.flags < 2**32:
        raise ValueError(f"flags {span.flags}: 0..2**32-1")


def _link(link: Link) -> bytes:
    if len(link.trace_id) != 16 or len(link.span_id) != 8:
        raise ValueError(f"link {link.trace_id.hex()!r} {link.span_id.hex()!r}: 16 and 8 bytes")
    return b"\x0a\x10" + link.trace_id + b"\x12\x08" + link.span_id + _attributes(b"\x22", link.attributes)


def _attributes(tag: bytes, attributes: Attributes) -> bytes:
    encoded = []
    for key, value in attributes.items():
        if isinstance(value, str):
            cached = len(value) <= _CACHED_LENGTH
        else:
            # Floats stay out (0.0 and -0.0 would be one entry), and numbers that count up (they push out the rest).
            cached = isinstance(value, int) and -1 <= value < 1000
        encoded.append((_cached_attribute if cached else _attribute)(tag, key, value))
    return b"".join(encoded)


def _attribute(tag: bytes, key: str, value: AttributeValue) -> bytes:
    if isinstance(value, str):
        content = delimited(b"\x0a", _utf8(value))
    elif isinstance(value, bool):
        content = b"\x10\x01" if value else b"\x10\x00"
    elif isinstance(value, int):
        if value not in _INT64:
            raise ValueError(f"attribute {key} = {value}: -2**63..2**63-1; send it as a string")
        content = b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
    elif isinstance(value, float):
        content = b"\x21" + struct.pack("<d", value)
    else:
        raise TypeError(f"attribute {key} is a {type(value).__name__}; expected str, bool, int or float")
    return delimited(tag, delimited(b"\x0a", _utf8(key)) + delimited(b"\x12", content))


# typed: True, 1 and "1" are different attributes.
_cached_attribute = lru_cache(maxsize=_CACHED_VALUES, typed=True)(_attribute)


def _utf8(text: str) -> bytes:
    # A lone surrogate cannot be sent; it must not stop the span either.
    return text.encode("utf-8", "replace")
