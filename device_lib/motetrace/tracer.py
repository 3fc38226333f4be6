"""The trace context of this device's messages."""

from motetrace import _port
from motetrace._texts import Texts


class Tracer(Texts):
    """Make one trace context per message; after construction nothing here allocates.

    Args:
        mode: "traceparent" (55 bytes, the whole W3C context) or "seqref" (22 bytes, the host derives the rest).
        threshold: 0..65536; a message is sampled when its top 16 random bits reach it: (1 - p) * 65536.
        entropy: bytes mixed into the seed, for boards with a noise source of their own.
        clock: anything with ticks_ms() and ticks_diff(a, b).
    Raises:
        ValueError: mode or threshold is wrong.
    Source: docs/wire-format.md.
    """

    def __init__(self, mode="traceparent", threshold=0, entropy=b"", clock=_port):
        full = mode == "traceparent"
        if not (full or mode == "seqref") or not 0 <= threshold <= 65536:
            raise ValueError("mode: traceparent or seqref; threshold: 0..65536")
        super().__init__(full, entropy)
        self.mode = mode
        self.tracestate = None  # after next(): bytes to send beside a traceparent, or None
        self._ticks = clock.ticks_ms
        self._diff = clock.ticks_diff
        self._age = bytearray(b"mt=a:0000000") if full else None
        row = self._heads[0]
        self._short = row[0]
        if _fast:
            row = list(row)
            row[1] = row
        # The last message's row; ~ticks_ms() of a mark: below 0, or 1 when the last context had an age, or the next is
        # forced; digits of an age beyond the last 4; forced; what makes further rows ready.
        self._state = [row, 0, not full, False, self._draw]
        if threshold:
            self.threshold = threshold

    @property
    def threshold(self):
        return self._threshold

    @threshold.setter
    def threshold(self, t):
        self._threshold = t
        n = t >> 8
        self._sampling = b"2" * n + (b"\0" if t & 255 else b"3") + b"3" * (255 - n)
        f = self._octets
        f[130] = 1
        n = self.block[8]
        if not self._full:
            self._split[1] = None
            self._draw(n & 248)
            f[8] = n
        if n & 7 < 7:
            self._sample(n + 1)

    @property
    def sampled(self):
        """Whether the last message is."""
        return self._state[0][0][-1] == 51

    @property
    def block(self):
        """16 bytes, of which the first 9 are boot nonce and seq of the last message."""
        if not _fast:
            n = self._state[0][0][20 if self._full else 18]
            self._octets[8] = self._octets[8] & 240 | (n & 15) + (n >> 6) * 9
        return self._block

    def mark(self):
        """Note the moment of the sensor read; the next context carries the age of the reading."""
        self._state[1] = ~self._ticks()

    def force(self):
        """Have the next message sampled, whatever the threshold says."""
        s = self._state
        s[1] = s[1] or 1
        s[2] = s[2] or 1
        s[3] = True
        self._octets[129] = 1

    def _unmarked(self, row):
        # A forced message, or the first one behind an age.
        s = self._state
        s[1] = self._octets[129] = 0
        self.tracestate = None
        if s[3]:
            s[3] = False
            row[0][-1] = 51
        return row[0]

    def next(self):
        """Advance seq and return the context of a new message, in a buffer that later calls overwrite."""
        s = self._state
        r = s[0][1] or s[4](None)
        s[0] = r
        if not s[1]:
            return r[0]
        m = s[1]
        if m > 0:
            return self._unmarked(r)
        s[1] = 1  # the next call has an age to take back
        m = self._diff(self._ticks(), ~m)
        if m >> 28:  # negative, or more than 7 digits
            m = 0xFFFFFFF
        t = self._age or r[3]
        t[11] = b"0123456789abcdef"[m & 15]
        t[10] = b"0123456789abcdef"[m >> 4 & 15]
        t[9] = b"0123456789abcdef"[m >> 8 & 15]
        t[8] = b"0123456789abcdef"[m >> 12 & 15]
        m >>= 16
        if m or s[2]:  # most ages fit 4 digits, and the other 3 are 0 already
            s[2] = m or self._age is None
            t[7] = b"0123456789abcdef"[m & 15]
            t[6] = b"0123456789abcdef"[m >> 4 & 15]
            t[5] = b"0123456789abcdef"[m >> 8]
            if s[3]:
                s[3] = False
                r[0][-1] = 51
        if self.tracestate is not self._age:  # a store costs as much as three digits
            self.tracestate = self._age
        return r[2]

    def seq(self):
        """Return the number of the last message, 0 before the first; may allocate."""
        return int.from_bytes(self.block[5:9], "big")


try:
    from motetrace_fast import mark, next  # device_lib/accelerator: the same in machine code

    Tracer.aged = Tracer.next  # what it calls for a message with a mark
    Tracer.mark = mark
    Tracer.next = next
    _fast = True
except Exception:  # not there, or compiled for something else: never a reason for the application to stop
    _fast = False
