"""The boot count in 32-bit words that outlive a reset: rp2's watchdog scratch, or machine.mem_backup() in words."""

import sys

# A word: count (18 bits), reset cause (3), check (9): below 2**30, as a small int on a board has to be. A store of a
# word is not torn by a reset; the two words are written in turn all the same, for what else may be on these buses.


def _check(n, cause):
    return n * 181 + (n >> 9) * 77 + cause * 91 + 299 & 511


def _read(w):
    # (count, cause), or (0, 0) when w is not one of ours.
    n = w & 0x3FFFF
    cause = w >> 18 & 7
    return (n, cause) if w >> 21 == _check(n, cause) else (0, 0)


class Words:
    """A store for BootCount in words a and b of mem; it ends at 262143 boots, then count stays None.

    Args:
        mem: machine.mem32 (a and b are addresses), or machine.mem_backup() (indices).
    """

    def __init__(self, mem, a=0, b=1):
        self._mem = mem
        self._at = (a, b)

    def load(self):
        return max(_read(self._mem[self._at[0]]), _read(self._mem[self._at[1]]))

    def save(self, n, cause):
        if n > 0x3FFFF:
            raise ValueError("more than 262143 boots")
        self._mem[self._at[n & 1]] = _check(n, cause & 7) << 21 | (cause & 7) << 18 | n
        if self.load() != (n, cause):
            raise OSError("not kept")


def scratch():
    """Return the store in watchdog scratch words 0 and 1 of an rp2 board; the SDK's own are from 4 on.

    Raises:
        ImportError, OSError: this is not an rp2 board.
    """
    from machine import mem32

    name = getattr(sys.implementation, "_machine", "")
    if "RP2" not in name:
        raise OSError("not rp2")
    a = 0x400D800C if "RP2350" in name else 0x4005800C
    return Words(mem32, a, a + 4)
