"""Context behind a binary payload: its bytes, a check over them, their number, and F5 4D, which no text ends in."""

from motetrace.binary import pack_binary_into
from motetrace.carrier import Carrier


class Trailer(Carrier):
    """Puts 33 bytes behind the payload, in mode "seqref" 14; the topic must be one on which the host looks for them.

    An empty payload is left alone: retained, it deletes what the broker keeps, and must stay empty.
    Source: docs/wire-format.md, "binary trailer"; tests/vectors/trailer.json.
    """

    def __init__(self, tracer):
        super().__init__(tracer, 33)
        self._table = t = bytearray(256)  # CRC-8, polynomial 07
        i = 1
        while i < 256:
            t[i] = t[i >> 1] << 1 & 255 ^ (7 if t[i >> 1] & 128 else 0) ^ (7 if i & 1 else 0)
            i += 1

    def place(self, msg):
        return len(msg) or -1

    def fill(self, context):
        b = self.buf
        end = pack_binary_into(b, 0, context)
        c = i = 0
        while i < end:
            c = self._table[c ^ b[i]]
            i += 1
        b[end] = c
        b[end + 1] = end
        b[end + 2] = 0xF5
        b[end + 3] = 0x4D
        return end + 4

    def close(self, end):
        return end
