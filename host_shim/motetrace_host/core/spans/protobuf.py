"""The protobuf wire format, as far as OTLP's envelope needs it: varints, and the fields of one message.

Why not let the protobuf library parse a whole request: an empty Span costs 2 bytes on the wire and some hundred in
memory, so a small hostile body becomes a large heap. Walking the envelope bounds the number of spans before any is
built, keeps each span's bytes as they came (unknown fields included), and lets one broken span be refused alone.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


def varint(number: int) -> bytes:
    """Encode 0..2**64-1 in 1 to 10 bytes."""
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def delimited(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field: its tag, the length, the content."""
    return tag + varint(len(content)) + content


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Each field of a message: its number, and its content when it is length-delimited, else None.

    Raises:
        ValueError: truncated, an overlong varint, field number 0, or a group (wire types 3 and 4, long deprecated).
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("field number 0")
        content = None
        if wire_type == LENGTH_DELIMITED:
            length, start = _read_varint(message, position)
            position = start + length
            content = message[start:position]
        elif wire_type == VARINT:
            _, position = _read_varint(message, position)
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == FIXED32:
            position += 4
        else:
            raise ValueError(f"wire type {wire_type} in field {number}; expected 0, 1, 2 or 5")
        if position > end:
            raise ValueError(f"field {number} ends {position - end} bytes after its message")
        yield number, content


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    for index in range(position, min(position + 10, len(message))):
        byte = message[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, index + 1
        shift += 7
    raise ValueError(f"truncated or overlong varint at byte {position}")


_ONE_BYTE = tuple(bytes((number,)) for number in range(0x80))
