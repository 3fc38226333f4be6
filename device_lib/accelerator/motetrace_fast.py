"""Tracer.next and mark in machine code: the same contexts, faster. Optional; `motetrace.tracer` finds it on the board.

It is not part of the package, and CircuitPython must not be given it: there viper is a SyntaxError. Compile it for the
board (docs/device-speed.md) and put motetrace_fast.mpy beside the folder motetrace. Here one of the 16 texts is used.
"""

import micropython


@micropython.viper
def mark(self):
    """Note the moment of the sensor read; the next context carries the age of the reading."""
    self._state[1] = ~int(self._ticks())
    ptr8(self._octets)[129] = 1  # noqa: F821


@micropython.viper
def next(self):
    """Advance seq and return the context of a new message, in a buffer that later calls overwrite."""
    f = ptr8(self._octets)  # noqa: F821
    n = f[8] + 1
    if n > 255:
        n = int(self._carry())
    f[8] = n
    full = f[144] == 46
    d = 144 if full else 141  # 20 and 21 bytes behind stand the last digits of seq
    c = n & 15
    c += 48 if c < 10 else 87
    f[d + 21] = c
    if full:
        f[196] = c
    if not n & 15 or n == 1:
        c = n >> 4
        c += 48 if c < 10 else 87
        f[d + 20] = c
        if full:
            f[195] = c
    if (full or f[130]) and not n & 7:
        f[24] = n + 2
        f[40] = n + 4
        f[56] = n + 6
        self._fill(self._blocks, self._random)
    if f[130]:  # a threshold was set
        d = 64 + ((n & 7) << 3)
        f[199 if full else 165] = 51 if (f[d] << 8 | f[d + 1]) >= int(self._threshold) else 50
    if full:
        n = 64 + ((n & 7) << 3)
        d = 166
        while d < 180:
            c = f[n] >> 4
            c += 48 if c < 10 else 87
            f[d] = c
            c = f[n] & 15
            c += 48 if c < 10 else 87
            f[d + 1] = c
            d += 2
            n += 1
    if f[129]:
        return self.aged()
    return self._short
