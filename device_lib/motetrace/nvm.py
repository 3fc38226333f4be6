"""The boot count in CircuitPython's microcontroller.nvm, where changing a byte that is not 0xFF erases 4 KB first."""

from motetrace.slots import newest, pack


class Nvm:
    """A store for BootCount that spends one 0xFF byte per boot and erases once in `size` - 8 boots only.

    A slot with the number of boots so far, then a byte for each boot since. A power cut leaves the old or the new
    number; one inside the erase leaves none, and none is what is then reported: `begin()` starts again, by hand.

    Args:
        nvm: microcontroller.nvm, or any bytearray.  at, size: the part to use; the larger, the rarer the erase.
    """

    def __init__(self, nvm=None, at=0, size=256):
        if nvm is None:
            from microcontroller import nvm
        self._nvm = nvm
        self._at = at
        self._size = size

    def begin(self, n=0, c=0):
        """Count from n on. To be called once for each board, from the REPL."""
        self._nvm[self._at : self._at + self._size] = bytes(pack(n, c)) + b"\xff" * (self._size - 8)

    def load(self):
        b = bytes(self._nvm[self._at : self._at + self._size])
        if pack(*newest(b[:8])) != b[:8]:
            raise OSError("no count here: begin()")
        n = self._n = b.find(b"\xff", 8)
        if n < 0:
            n = self._n = len(b)
        c = b[n - 1] if n > 8 else b[5]
        return newest(b[:8])[0] + n - 8, c & 7 if c >> 4 == c & 15 else 0

    def save(self, n, cause):
        c = (cause & 7) * 17  # twice, so that a torn one is not taken for another
        if self._n == self._size:
            self.begin(n, c)
        else:
            self._nvm[self._at + self._n] = c
