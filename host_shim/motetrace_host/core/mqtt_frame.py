"""Where one MQTT control packet ends and the next begins in a stream of bytes."""

from __future__ import annotations

from motetrace_host.core.wire_error import WireError

Frame = tuple[int, bytes]
"""First byte of the fixed header (type and flags), and everything after the remaining length."""


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """Take every whole packet out of `data`.

    Returns:
        The packets in order, and the bytes of the one that has not wholly arrived.
    Raises:
        WireError: a remaining length has more than 4 bytes (`frame_length`): the stream is lost.
    Source: MQTT 5.0, 2.1.4.
    """
    frames: list[Frame] = []
    position, size = 0, len(data)
    while size - position >= 2:
        length = data[position + 1]
        head = position + 2
        if length > 127:
            length, head = _long_length(data, position + 1)
            if head == 0:
                break
        end = head + length
        if end > size:
            break
        frames.append((data[position], data[head:end]))
        position = end
    return frames, data[position:]


def _long_length(data: bytes, position: int) -> tuple[int, int]:
    """Read a remaining length of 2 to 4 bytes; gives it and where the body starts, or (0, 0) when bytes are missing."""
    length = 0
    for shift in (0, 7, 14, 21):
        if position >= len(data):
            return 0, 0
        byte = data[position]
        position += 1
        length |= (byte & 127) << shift
        if byte < 128:
            return length, position
    raise WireError("frame_length", "a remaining length does not end within 4 bytes")
