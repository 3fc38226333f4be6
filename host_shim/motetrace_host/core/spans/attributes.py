"""What the shim's own spans repeat, as OTLP bytes written by hand: scope, resource and attributes.

`hops` joins them with what differs from message to message. Why not the protobuf library: attributes are encoded anew
for each boot on a topic, and building message objects costs several times as much; most of them repeat from boot to
boot, so their bytes are kept. tests/host/spans/test_otlp.py holds the result against the protobuf library's.
Source: opentelemetry-proto trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from motetrace_host.core.spans.protobuf import delimited, varint
from motetrace_host.core.spans.span import Attributes, AttributeValue

SCOPE = delimited(b"\x0a", b"motetrace")  # InstrumentationScope.name
# The cache holds at most this many values of at most this length each: about 2 MB, whatever devices send.
_CACHED_VALUES, _CACHED_LENGTH = 4096, 256
_INT64 = range(-(2**63), 2**63)


def encode_resource(service_name: str) -> bytes:
    """Encode an OTLP Resource that has a service.name."""
    return _attributes(b"\x0a", {"service.name": service_name})


def encode_attributes(attributes: Attributes) -> bytes:
    """Encode the attributes of a span, in their order, as the fields of a Span message.

    Args:
        attributes: str, bool, int (-2**63..2**63-1) or float values; a lone surrogate becomes `?`.
    Raises:
        ValueError: a number is out of range; names it and the range.
        TypeError: a value is none of str, bool, int, float.
    """
    return _attributes(b"\x4a", attributes)


def encode_text(key: str, value: str) -> bytes:
    """Encode one attribute of a span as `encode_attributes` does, for values that no other span has."""
    return delimited(b"\x4a", _key(key) + delimited(b"\x12", delimited(b"\x0a", _utf8(value))))


@lru_cache
def _key(key: str) -> bytes:
    return delimited(b"\x0a", _utf8(key))


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
    return delimited(tag, _key(key) + delimited(b"\x12", content))


# typed: True, 1 and "1" are different attributes.
_cached_attribute = lru_cache(maxsize=_CACHED_VALUES, typed=True)(_attribute)


def _utf8(text: str) -> bytes:
    # A lone surrogate cannot be sent; it must not stop the span either.
    return text.encode("utf-8", "replace")
