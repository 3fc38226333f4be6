"""Message numbers as ranges in fixed memory: the first few exactly, then only how many more there were."""


class Ranges:
    """At most n ranges of 32-bit seqs; `more` counts those that fit in none. Nothing here allocates.

    A number is 4 bytes of a buffer, big-endian: as an int half of them would not be small ones.
    """

    def __init__(self, n=8):
        self._b = bytearray(8 * n)  # first and last of each
        self.n = self.more = self._told = self._told_more = 0

    def _beyond(self, src, at, i):
        # How far src is beyond the number at i, cut to -2..2 where the upper halves differ by more than one.
        b = self._b
        d = (src[at] << 8 | src[at + 1]) - (b[i] << 8 | b[i + 1])
        if d > 1 or d < -1:
            return 2 * d
        return (d << 16) + (src[at + 2] << 8 | src[at + 3]) - (b[i + 2] << 8 | b[i + 3])

    def _put(self, src, at, i, n):
        while n:
            self._b[i] = src[at]
            i += 1
            at += 1
            n -= 1

    def add(self, src, at=0):
        """Take in the number in src at `at`; one that is there already counts once."""
        i = 0
        while i < 8 * self.n:
            if self._beyond(src, at, i) >= 0:
                d = self._beyond(src, at, i + 4)
                if d == 1:
                    self._put(src, at, i + 4, 4)
                    self._told = min(self._told, i >> 3)  # it is to be told again
                if d < 2:
                    return
            i += 8
        if i < len(self._b):
            self._put(src, at, i, 4)
            self._put(src, at, i + 4, 4)
            self.n += 1
        elif self.more < 0x3FFFFFFF:
            self.more += 1

    def take_back(self, src, at=0):
        """Drop a number if it is the last one taken in: a retry of it went through."""
        i = 8 * self.n - 8
        if i >= 0 and not self._beyond(src, at, i + 4):
            self._told = min(self._told, i >> 3)
            if not self._beyond(src, at, i):
                self.n -= 1
            i += 7
            while not self._b[i]:
                self._b[i] = 255
                i -= 1
            self._b[i] -= 1

    def write(self, j):
        """Write [[first, last], ...] into a JsonBuffer."""
        j.byte(91)
        i = 0
        while i < 8 * self.n:
            j.raw(b",[" if i else b"[")
            j.seq(self._b, i)
            j.byte(44)
            j.seq(self._b, i + 4)
            j.byte(93)
            i += 8
        j.byte(93)
        self._told = self.n
        self._told_more = self.more

    def forget(self):
        """Drop what was written last: it has arrived. What came or changed since stays."""
        self.n -= self._told
        self._put(self._b, 8 * self._told, 0, 8 * self.n)
        self.more -= self._told_more
        self._told = self._told_more = 0
