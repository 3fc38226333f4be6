"""The one file that knows the interpreter. A MicroPython with everything stops here; any other reads `_port_other`."""

try:
    import machine
    from array import array
    from os import urandom
    from time import ticks_diff, ticks_ms, ticks_us

    from cryptolib import aes
    from hashlib import sha256
    from uctypes import addressof, bytearray_at

    def view(buf, at, n):
        """Return n bytes of buf from byte offset `at`, sharing its memory."""
        return bytearray_at(addressof(buf) + at, n)

    def shared(n):
        """Return (pairs, octets): the same n bytes as 16-bit words and as bytes."""
        pairs = array("H", bytes(n))
        return pairs, view(pairs, 0, n)

    def cipher(key):
        """Return (name, f): f(src, dst) fills dst with 16 random-looking bytes and allocates nothing."""
        return "aes", aes(key, 1).encrypt

    def seed(extra):
        """Return 32 bytes from os.urandom, the board's id, the reset cause, the clock and `extra`, by SHA-256."""
        for name in ("unique_id", "reset_cause"):
            extra += repr(getattr(machine, name, int)()).encode()
        return sha256(urandom(32) + repr(ticks_us()).encode() + extra).digest()

except ImportError:
    from motetrace._port_other import cipher, seed, shared, ticks_diff, ticks_ms, view  # noqa: F401
