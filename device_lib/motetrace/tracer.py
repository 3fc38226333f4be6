"""The trace context of this device's messages, kept in one buffer and renewed in place."""

from motetrace import _port

# Everything that a message changes lies in one buffer, so that next() loads one attribute for all of it. What is handed
# out are views of its beginning: traceparent 1..55, seqref 34..55 (with age to 63). Both end with the same digit of seq
# and the same digit of flags; the random digits begin at an even offset, as Pairs wants it.
#   0         1         2         3         4         5         6
#   0123456789012345678901234567890123456789012345678901234567890123
#   .00-nnnnnnnnnnSSSSSSSSrrrrrrrrrrrrrr-bbbbbbbbSSSSSSSS-ff........
#   ..................................nnnnnnnnnn-SSSSSSSS-ff-aaaaaaa
# 64..79 `block`, the cipher's input: boot nonce 5, seq 4 (big-endian), 6 of the seed, a byte that is 1 at boot only.
# 80..95 `_random`, its output: two messages' random parts, at 80 and 88.


def put_hex(dst, at, src, i, n, table):
    """Write n bytes of src from i as 2n digits into dst from `at`; `table` is a tracer's."""
    while n:
        dst[at] = table[src[i] >> 4]
        dst[at + 1] = table[src[i] & 15]
        at += 2
        i += 1
        n -= 1


class Tracer:
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
        self.mode = mode
        self.threshold = threshold
        self.sampled = True
        self.tracestate = None  # after next(): bytes to send beside a traceparent, or None
        self.table = b"0123456789abcdef"  # put_hex's
        self._full = full
        self._clock = clock
        self._mark = 0  # ~ticks_ms() of a mark: below 0; 1 when the last context had an age, or the next is forced
        self._force = False
        text = b".00-%32s-%16s-03" if full else b"%44s-%8s-03-0000000"
        self._octets = f = bytearray(text % (b"", b"") + bytes(40))
        self.block = _port.view(f, 64, 16)
        self._random = _port.view(f, 80, 16)
        self._paint = None
        if full:
            self._short = self._long = _port.view(f, 1, 55)
            self._age = bytearray(b"mt=a:0000000")
            self._paint, self._rows, self._palette = _port.painter(f, self._random, self.table)
        else:
            self._short = _port.view(f, 34, 22)
            self._long = _port.view(f, 34, 30)
            self._age = _port.view(f, 52, 12)
        self._late = 0  # an age's digits beyond the last 4
        key = _port.seed(entropy)
        self.source, self._encrypt = _port.cipher(key[:16])
        f[73:79] = key[16:22]
        self._boot()

    def _boot(self):
        # A new boot nonce and parent-id prefix, seq back to 0: at construction, and when seq has run out.
        c = self.block
        r = self._random
        c[15] = 1
        self._encrypt(c, r)
        c[15] = 0
        i = 0
        while i < 9:
            c[i] = r[i] if i < 5 else 0
            i += 1
        if self._full:
            put_hex(self._octets, 37, r, 5, 4, self.table)
        put_hex(self._octets, 4 if self._full else 34, c, 0, 5, self.table)
        self._digits()
        self._encrypt(c, r)

    def _digits(self):
        put_hex(self._octets, 14, self.block, 5, 4, self.table)  # in mode seqref nobody sees these
        put_hex(self._octets, 45, self.block, 5, 4, self.table)

    def _carry(self):
        # seq's low byte ran over: return its new value.
        c = self.block
        c[8] = 0
        i = 7
        while i > 4:
            if c[i] < 255:
                c[i] += 1
                self._digits()
                return 0
            c[i] = 0
            i -= 1
        self._boot()
        return 1

    def mark(self):
        """Note the moment of the sensor read; the next context carries the age of the reading."""
        self._mark = ~self._clock.ticks_ms()

    def force(self):
        """Have the next message sampled, whatever the threshold says."""
        self._force = True
        if not self._mark:
            self._mark = 1

    def _aged(self):
        if self._force:
            self._force = False
            self.sampled = True
            self._octets[55] = 51
        m = self._mark
        if m > 0:
            self._mark = 0
            self.tracestate = None
            return self._short
        self._mark = 1  # the next call has an age to take back
        self.tracestate = self._age if self._full else None
        m = self._clock.ticks_diff(self._clock.ticks_ms(), ~m)
        if m >> 28:  # negative, or more than 7 digits
            m = 0xFFFFFFF
        f = self._age
        d = self.table
        f[11] = d[m & 15]
        f[10] = d[m >> 4 & 15]
        f[9] = d[m >> 8 & 15]
        f[8] = d[m >> 12 & 15]
        m >>= 16
        if m or self._late:  # most ages fit 4 digits, and the other 3 are 0 already
            self._late = m
            f[7] = d[m & 15]
            f[6] = d[m >> 4 & 15]
            f[5] = d[m >> 8]
        return self._long

    def next(self):
        """Advance seq and return the context of a new message, in a buffer that the next call overwrites."""
        f = self._octets
        n = f[72] + 1
        if not n & 15:
            if n > 255:
                n = self._carry()
            else:
                f[20] = f[51] = b"0123456789abcdef"[n >> 4]
        f[72] = n
        f[21] = f[52] = b"0123456789abcdef"[n & 15]
        p = self._paint
        if n & 1:
            if p:
                p.blit(self._rows, 22, -1, -1, self._palette)
        else:
            if p:
                self._encrypt(self.block, self._random)
                p.blit(self._rows, 22, 0, -1, self._palette)
            elif self.threshold:
                self._encrypt(self.block, self._random)
        p = self.threshold
        if p or not self.sampled:
            n = 80 + (n & 1) * 8
            p = (f[n] << 8 | f[n + 1]) >= p
            if p != self.sampled:
                self.sampled = p
                f[55] = 51 if p else 50
        if self._mark:
            return self._aged()
        return self._short

    def seq(self):
        """Return the number of the last message, 0 before the first; may allocate."""
        return int.from_bytes(self.block[5:9], "big")


try:
    from motetrace_fast import next  # device_lib/accelerator: the same in machine code

    Tracer.next = next
except Exception:  # not there, or compiled for something else: never a reason for the application to stop
    pass
