"""Where one MQTT control packet ends and the next begins in a stream of bytes."""

from __future__ import annotations

from typing import Final

from motetrace_host.core.errors import WireError

Frame = tuple[int, bytes]
"""First byte of the fixed header (type and flags), and everything after the remaining length."""

MAX_PACKET_BYTES: Final = 16 << 20
"""Announced to the broker, which then sends no larger packets (MQTT 5.0, 3.1.2.11.4), and checked here."""


_MAX_OF_TWO: Final = 3 + 16_383  # the longest packet whose length has two bytes


class Stream:
    """The packets of one connection, out of pieces of any size.

    Keeps at most one packet that has not wholly arrived. However small the pieces are, a byte is copied a fixed number
    of times: a large packet in small pieces takes time in proportion to its size.

    Args:
        max_packet_bytes: 129..268,435,460, the whole packet with its fixed header.
    """

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self._max_packet_bytes = max_packet_bytes
        self._unread = bytearray()
        self._missing = 0  # bytes without which nothing more can be read; at least so many, 0 at the beginning

    def feed(self, data: bytes) -> list[Frame]:
        """Take in what has arrived next, and give every packet that is whole now, in order.

        Raises:
            WireError: the stream is lost: a remaining length does not end within 4 bytes (`frame_length`), or a packet
                is larger than announced (`frame_too_large`; found by its first bytes, before it is kept).
        Source: MQTT 5.0, 2.1.4.
        """
        if len(data) < self._missing:
            self._unread += data
            self._missing -= len(data)
            return []
        if self._unread:
            data = b"".join((self._unread, data))
            self._unread = bytearray()
        self._missing = 0
        frames: list[Frame] = []
        position, size = 0, len(data)
        two_fit = self._max_packet_bytes >= _MAX_OF_TWO
        while size - position >= 2:
            length = data[position + 1]
            head = position + 2
            if length > 127:
                if size > head and data[head] < 128 and two_fit:  # as `_long_length`, written out
                    length, head = length & 127 | data[head] << 7, head + 1
                else:
                    length, head = self._long_length(data, position + 1)
                    if head == 0:
                        break
            end = head + length
            if end > size:
                self._missing = end - size
                break
            frames.append((data[position], data[head:end]))
            position = end
        if position < size:
            self._unread += memoryview(data)[position:]
        return frames

    @property
    def unread_bytes(self) -> int:
        """How much is kept of a packet that has not wholly arrived."""
        return len(self._unread)

    def _long_length(self, data: bytes, position: int) -> tuple[int, int]:
        """Read a remaining length of 2 to 4 bytes: it, and where the body starts; (0, 0) when bytes are missing."""
        length, began = 0, position
        for shift in (0, 7, 14, 21):
            if position >= len(data):
                return 0, 0
            byte = data[position]
            position += 1
            length |= (byte & 127) << shift
            if byte < 128:
                size = 1 + position - began + length
                if size > self._max_packet_bytes:
                    raise WireError(
                        "frame_too_large",
                        f"a packet of {size} bytes is announced, but at most {self._max_packet_bytes} were asked for: "
                        "the broker disregards MQTT 5's maximum packet size; let it refuse such messages",
                    )
                return length, position
        raise WireError(
            "frame_length", "a remaining length does not end within 4 bytes: this is no MQTT, or out of step"
        )
