"""The same as `_port`, piece by piece, for CircuitPython, CPython and builds of MicroPython that lack something."""

import os
import time

from motetrace.pairs import painter  # noqa: F401

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
        from motetrace.sfc16 import Sfc16

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
        from motetrace.sfc16 import fold

        return fold(extra)
