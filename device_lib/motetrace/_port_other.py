"""The same as `_port`, piece by piece, for CircuitPython, CPython and builds of MicroPython that lack something."""

import os
import time

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


class Several:
    """Encrypts four blocks one after the other, for a cipher that takes one at a time; see `_port.several`."""

    def __init__(self, encrypt, src, dst):
        self._encrypt = encrypt
        self._parts = [(view(src, i, 16), view(dst, i, 16)) for i in (0, 16, 32, 48)]

    def fill(self, src, dst):
        for src, dst in self._parts:
            self._encrypt(src, dst)


def several(encrypt, src, dst):
    return Several(encrypt, src, dst).fill


def by_pairs(rows, x, y, key, table):
    """Write 8 times 7 bytes as digits; arguments as FrameBuffer.blit has them."""
    rows = rows[y >> 3]
    x = 8
    while x:
        x -= 1
        key = rows[x]
        y = key[1]
        key = key[0]
        y[0] = table[key[0]]
        y[1] = table[key[1]]
        y[2] = table[key[2]]
        y[3] = table[key[3]]
        y[4] = table[key[4]]
        y[5] = table[key[5]]
        y[6] = table[key[6]]


def by_digits(rows, x, y, key, table):
    """The same where memory cannot be seen as pairs, as on MicroPython."""
    rows = rows[y >> 3]
    x = 56
    while x:
        x -= 1
        key = rows[x // 7]
        y = key[0][x % 7] * 2
        key = key[1]
        key[x % 7 * 2] = table[y]
        key[x % 7 * 2 + 1] = table[y + 1]


class Columns:
    """What of FrameBuffer a tracer uses, for 16 texts of `size` bytes; see `_port.painter`."""

    def __init__(self, text, size, random, table):
        self._text = text
        self._size = size
        if size < 56:
            return
        self.blit = by_digits  # an object's own function, not its class's: found sooner, and called with one word less
        self.table = table
        rows = [(view(random, i % 8 * 8, 8), view(text, i * size + 22, 14)) for i in range(16)]
        if hasattr(memoryview, "cast"):
            self.blit = by_pairs
            self.table = table.cast("H")
            rows = [(row, place.cast("H")) for row, place in rows]
        self.rows = rows[:8], rows[8:]

    def vline(self, x, y, n, c):
        t = self._text
        y = self._size
        while n:
            t[x] = c
            x += y
            n -= 1


def painter(text, size, random, table):
    """Return (columns, paint, rows, palette): see `_port.painter`; by framebuf where there is one, else by Columns."""
    i = 0
    while size > 32 and i < 256:
        table[2 * i] = b"0123456789abcdef"[i >> 4]
        table[2 * i + 1] = b"0123456789abcdef"[i & 15]
        i += 1
    try:
        from framebuf import GS8, RGB565, FrameBuffer
    except ImportError:
        c = Columns(text, size, random, table)
        return (c, None, None, None) if size < 56 else (c, c, c.rows, c.table)
    columns = FrameBuffer(text, size, 16, GS8)
    if size < 56:
        return columns, None, None, None
    rows = FrameBuffer(random, 7, 8, GS8, 8)
    return columns, FrameBuffer(text, 28, 16, RGB565), rows, FrameBuffer(table, 256, 1, RGB565)


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
