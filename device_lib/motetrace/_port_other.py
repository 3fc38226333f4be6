"""The same as `_port`, piece by piece, for CircuitPython, CPython and builds of MicroPython that lack something."""

import os
import sys
import time
from array import array

try:
    from time import ticks_diff, ticks_ms
except ImportError:
    try:
        from supervisor import ticks_ms  # CircuitPython: wraps at 2**29
    except ImportError:

        def ticks_ms():
            return time.monotonic_ns() // 1000000 & 0x1FFFFFFF

    def ticks_diff(a, b):
        return (a - b + 0x10000000 & 0x1FFFFFFF) - 0x10000000


def view(buf, at, n):
    """Return n bytes of buf from byte offset `at`, sharing its memory."""
    return memoryview(buf)[at : at + n]


def cipher(key):
    """Return (name, f): f(src, dst) fills dst with 16 random-looking bytes and allocates nothing."""
    try:
        from cryptolib import aes

        return "aes", aes(key, 1).encrypt
    except ImportError:
        pass
    try:
        import aesio

        return "aes", aesio.AES(key, aesio.MODE_ECB).encrypt_into
    except ImportError:
        return "sfc16", Sfc16(key).fill


def _board():
    # What tells this board and this boot from any other, whatever os.urandom is worth.
    try:
        import machine as m

        for name in ("unique_id", "reset_cause"):
            yield getattr(m, name, int)()
    except ImportError:
        pass
    try:
        from microcontroller import cpu  # CircuitPython

        yield cpu.uid
        yield cpu.reset_reason
    except (ImportError, NotImplementedError):  # the second: Blinka, on a PC that it does not know
        pass
    for name in ("ticks_us", "monotonic_ns", "time"):
        yield getattr(time, name, int)()


def seed(extra):
    """Return 32 bytes from os.urandom, the board's id, the reset cause, clocks and `extra`, by SHA-256 or folded."""
    for part in _board():
        extra += repr(part).encode()
    try:
        extra += os.urandom(32)
    except (AttributeError, NotImplementedError):
        pass
    try:
        import hashlib

        if hasattr(hashlib, "sha256"):
            return hashlib.sha256(extra).digest()
        return hashlib.new("sha256", extra).digest()
    except (ImportError, AttributeError, ValueError):
        return fold(extra)


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


def fold(data):
    """Return 32 bytes that depend on every byte of data; for builds without SHA-256 only."""
    out = bytearray(32)
    a = 0x6D6F
    i = 0
    n = len(data)
    while i < n + 96:  # three more rounds after the last byte
        a = (a * 25173 + 13849 + (data[i] if i < n else 0) + out[(i + 1) & 31]) & 0xFFFF
        out[i & 31] ^= a >> 8
        i += 1
    return out


class Sfc16:
    """A generator seeded from 16 bytes; fill(src, dst) has the shape of a cipher's encrypt."""

    def __init__(self, key):
        self._s = s = [0, 0, 0, 1]
        tmp = bytearray(16)
        for i in range(0, 16, 2):
            s[i >> 1 & 3] ^= key[i] << 8 | key[i + 1]
            if i == 6:
                self.fill(None, tmp)
        self.fill(None, tmp)
        self.fill(None, tmp)

    def fill(self, src, dst):
        s = self._s
        i = 0
        while i < 16:
            x = s[0] + s[1] + s[3] & 0xFFFF
            s[3] = s[3] + 1 & 0xFFFF
            s[0] = s[1] ^ s[1] >> 5
            s[1] = s[2] + (s[2] << 3) & 0xFFFF
            s[2] = ((s[2] << 6 | s[2] >> 10) & 0xFFFF) + x & 0xFFFF
            dst[i] = x >> 8
            dst[i + 1] = x & 255
            i += 2
