"""The one file that knows the interpreter. A MicroPython with everything stops here; any other reads `_port_other`."""

try:
    from hashlib import sha256
    from os import urandom
    from time import ticks_diff, ticks_ms, ticks_us

    import machine
    from cryptolib import aes
    from framebuf import GS8, RGB565, FrameBuffer
    from uctypes import addressof, bytearray_at

    def view(buf, at, n):
        """Return n bytes of buf from byte offset `at`, sharing its memory."""
        return bytearray_at(addressof(buf) + at, n)

    def painter(text, size, random, table):
        """Return (columns, paint, rows, palette), which write into 16 texts of `size` bytes, in C, without allocation.

        columns.vline(x, 0, 16, c) writes c at x of each text. paint.blit(rows, 11, y, -1, palette) writes 7 of each 8
        random bytes as 14 digits, at 22 of 8 texts from number y: 8-bit pixels drawn as 16-bit ones, whose colours are
        pairs of digits. Texts of 32 bytes have no such digits, and no paint. Both are called as methods: through a
        stored one 24 bytes would go at each call.
        """
        columns = FrameBuffer(text, size, 16, GS8)
        if size < 56:
            return columns, None, None, None
        rows = FrameBuffer(random, 7, 8, GS8, 8)
        for i in range(256):
            table[2 * i] = b"0123456789abcdef"[i >> 4]
            table[2 * i + 1] = b"0123456789abcdef"[i & 15]
        return columns, FrameBuffer(text, 28, 16, RGB565), rows, FrameBuffer(table, 256, 1, RGB565)

    def cipher(key):
        """Return (name, f): f(src, dst) fills dst with 16 random-looking bytes and allocates nothing."""
        return "aes", aes(key, 1).encrypt

    def several(encrypt, src, dst):
        """Return f(src, dst), which encrypts four blocks at once."""
        return encrypt

    def seed(extra):
        """Return 32 bytes from os.urandom, the board's id, the reset cause, the clock and `extra`, by SHA-256."""
        for name in ("unique_id", "reset_cause"):
            extra += repr(getattr(machine, name, int)()).encode()
        return sha256(urandom(32) + repr(ticks_us()).encode() + extra).digest()

except ImportError:
    from motetrace._port_other import cipher, painter, seed, several, ticks_diff, ticks_ms, view  # noqa: F401
