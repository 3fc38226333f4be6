"""The one file that knows the interpreter. A MicroPython with everything stops here; any other reads `_port_other`."""

try:
    from hashlib import sha256
    from os import urandom
    from time import ticks_diff, ticks_ms, ticks_us

    import machine
    from cryptolib import aes
    from framebuf import GS4_HMSB, GS8, FrameBuffer
    from uctypes import addressof, bytearray_at

    def view(buf, at, n):
        """Return n bytes of buf from byte offset `at`, sharing its memory."""
        return bytearray_at(addressof(buf) + at, n)

    def painter(text, random, digits):
        """Return (paint, rows, palette): what writes 7 of 16 random bytes as 14 digits, in C and without allocation.

        paint.blit(rows, x, y, -1, palette) writes random[:7] (y 0) or random[8:15] (y -1) from text[x]: 4-bit pixels
        drawn as 8-bit ones, with `digits` for a palette. A method call: through a stored `blit` 24 bytes would go.
        """
        rows = FrameBuffer(random, 14, 2, GS4_HMSB, 16)
        return FrameBuffer(text, len(text), 1, GS8), rows, FrameBuffer(bytearray(digits), 16, 1, GS8)

    def cipher(key):
        """Return (name, f): f(src, dst) fills dst with 16 random-looking bytes and allocates nothing."""
        return "aes", aes(key, 1).encrypt

    def seed(extra):
        """Return 32 bytes from os.urandom, the board's id, the reset cause, the clock and `extra`, by SHA-256."""
        for name in ("unique_id", "reset_cause"):
            extra += repr(getattr(machine, name, int)()).encode()
        return sha256(urandom(32) + repr(ticks_us()).encode() + extra).digest()

except ImportError:
    from motetrace._port_other import cipher, painter, seed, ticks_diff, ticks_ms, view  # noqa: F401
