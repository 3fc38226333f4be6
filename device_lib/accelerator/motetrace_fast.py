"""Tracer.next in machine code: the same contexts, faster. Optional; `motetrace.tracer` finds it if it is on the board.

It is not part of the package, and CircuitPython must not be given it: there viper is a SyntaxError. Compile it for the
board (docs/device-speed.md) and put motetrace_fast.mpy beside the folder motetrace.
"""

import micropython


@micropython.viper
def next(self):
    """Advance seq and return the context of a new message, in a buffer that the next call overwrites."""
    f = ptr8(self._octets)  # noqa: F821
    n = f[72] + 1
    if n > 255:
        n = int(self._carry())
    f[72] = n
    d = n >> 4
    d += 48 if d < 10 else 87
    f[20] = d
    f[51] = d
    d = n & 15
    d += 48 if d < 10 else 87
    f[21] = d
    f[52] = d
    p = int(self.threshold)
    d = 80 + ((n & 1) << 3)
    if (f[0] == 46 or p) and not n & 1:
        self._encrypt(self.block, self._random)
    if p or f[55] != 51:
        c = 51 if (f[d] << 8 | f[d + 1]) >= p else 50
        if f[55] != c:
            f[55] = c
            self.sampled = bool(c & 1)
    if f[0] == 46:  # mode traceparent
        n = 22
        while n < 36:
            c = f[d] >> 4
            c += 48 if c < 10 else 87
            f[n] = c
            c = f[d] & 15
            c += 48 if c < 10 else 87
            f[n + 1] = c
            d += 1
            n += 2
    if self._mark:
        return self._aged()
    return self._short
