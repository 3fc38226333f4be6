"""What `framebuf` does for the tracer, where the interpreter has none: 7 bytes as 14 digits, two digits at a time."""

import sys
from array import array


def by_pairs(rows, x, row, key, table):
    """Write rows[row], 7 bytes, as digits to text[22:36]; arguments as FrameBuffer.blit has them, row is 0 or -1."""
    x = rows[row]  # the arguments' own slots: a frame of more words would be put on the heap
    key = rows[1]
    key[11] = table[x[0]]
    key[12] = table[x[1]]
    key[13] = table[x[2]]
    key[14] = table[x[3]]
    key[15] = table[x[4]]
    key[16] = table[x[5]]
    key[17] = table[x[6]]


def by_digits(rows, x, row, key, table):
    """The same where memory cannot be seen as pairs: on MicroPython, and where bytes stand in the other order."""
    row = rows[row]
    key = 0
    while key < 7:
        p = table[row[key]]
        rows[1][x] = p & 255
        rows[1][x + 1] = p >> 8
        x += 2
        key += 1


class Pairs:
    """Digits for one text.

    Args:
        text: what is written to, of even length.
        random: 16 bytes: two rows, of which the first 7 are written.
        digits: the 16 digits.
    """

    def __init__(self, text, random, digits):
        self.table = t = array("H", bytes(512))
        for i in range(256):
            t[i] = digits[i >> 4] | digits[i & 15] << 8
        self.blit = by_digits  # an object's own function, not its class's: found sooner, and called with one word less
        if sys.byteorder == "little" and hasattr(memoryview, "cast"):
            self.blit = by_pairs
            text = memoryview(text).cast("H")
        random = memoryview(random)
        self.rows = (random[:8], text, random[8:])


def painter(text, random, digits):
    """Return (paint, rows, palette): see `_port.painter`; by framebuf where there is one, else by Pairs."""
    try:
        from framebuf import GS4_HMSB, GS8, FrameBuffer
    except ImportError:
        pairs = Pairs(text, random, digits)
        return pairs, pairs.rows, pairs.table
    rows = FrameBuffer(random, 14, 2, GS4_HMSB, 16)
    return FrameBuffer(text, len(text), 1, GS8), rows, FrameBuffer(bytearray(digits), 16, 1, GS8)
