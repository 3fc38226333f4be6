"""Tracer.next and mark in machine code: the same contexts, faster. Optional; `motetrace.tracer` finds it on the board.

It is not part of the package, and CircuitPython must not be given it: there viper is a SyntaxError. Compile it for the
board (docs/device-speed.md) and put motetrace_fast.mpy beside the folder motetrace. Here one of the 16 texts is used.
"""

import micropython


@micropython.viper
def mark(self):
    """Note the moment of the sensor read; the next context carries the age of the reading."""
    self._state[1] = ~self._ticks()
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
    d = n & 15
    c = d + 48 if d < 10 else d + 87
    if full:
        f[165] = c
        f[196] = c
    else:
        f[162] = c
    if not n & 7:
        if not d:
            d = n >> 4
            c = d + 48 if d < 10 else d + 87
            if full:
                f[164] = c
                f[195] = c
            else:
                f[161] = c
        if full or f[130]:
            f[24] = n + 2
            f[40] = n + 4
            f[56] = n + 6
            self._fill(self._blocks, self._random)
    n = (n & 7) << 3
    if f[130]:  # a threshold was set
        d = 51 if (f[n + 64] << 8 | f[n + 65]) >= int(self._threshold) else 50
        f[199 if full else 165] = d
    if full:
        n += 64
        d = int(f) + 1040
        t = ptr16(d)  # noqa: F821
        d = int(f) + 166
        w = ptr16(d)  # noqa: F821
        w[0] = t[f[n]]
        w[1] = t[f[n + 1]]
        w[2] = t[f[n + 2]]
        w[3] = t[f[n + 3]]
        w[4] = t[f[n + 4]]
        w[5] = t[f[n + 5]]
        w[6] = t[f[n + 6]]
    if f[129]:
        return self.aged()
    return self._short
