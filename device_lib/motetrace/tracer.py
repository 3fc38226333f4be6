"""The trace context of this device's messages, kept in one buffer and renewed in place."""

from array import array

from motetrace import _port

# Digits of seq and of the random part stand at even offsets, so that one 16-bit store writes both digits of a byte;
# what is handed out is a view that starts at the odd offset this leads to.
#   0         1         2         3         4         5
#   01234567890123456789012345678901234567890123456789012345
#   .00-nnnnnnnnnnSSSSSSSSrrrrrrrrrrrrrr-bbbbbbbbSSSSSSSS-ff    traceparent, from 1
#   ...nnnnnnnnnn-SSSSSSSS-ff-aaaaaaa                           seqref, from 3


def put_hex(dst, at, src, i, n, table):
    """Write n bytes of src from i as 2n digits into dst from `at`."""
    while n:
        p = table[src[i]]
        dst[at] = p & 255
        dst[at + 1] = p >> 8
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
        self._full = full
        self._clock = clock
        self._mark = -1
        self.table = t = array("H", bytes(512))
        for i in range(256):
            t[i] = b"0123456789abcdef"[i >> 4] | b"0123456789abcdef"[i & 15] << 8
        self._pairs, self._octets = _port.shared(56)
        f = self._octets
        i = 0
        for b in b".00-%32s-%16s-03" % (b"", b"") if full else b"%13s-%8s-03-%7s" % (b"", b"", b""):
            f[i] = b
            i += 1
        if full:
            self._short = self._long = _port.view(f, 1, 55)
            self._state = bytearray(b"mt=a:0000000")
        else:
            self._short = _port.view(f, 3, 22)
            self._long = _port.view(f, 3, 30)
            self._state = None
        key = _port.seed(entropy)
        self.source, self._encrypt = _port.cipher(key[:16])
        self.block = bytearray(16)  # cipher input: boot nonce 5, seq 4 (big-endian), and byte 15 when not a message
        self.block[9:15] = key[16:22]
        self._random = bytearray(16)  # cipher output: two messages' random parts, at 0 and 8
        self._random8 = _port.view(self._random, 8, 8)
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
            put_hex(self._octets, 4, c, 0, 5, self.table)
        else:
            put_hex(self._octets, 3, c, 0, 5, self.table)
        self._digits()
        self._encrypt(c, r)

    def _digits(self):
        put_hex(self._octets, 14, self.block, 5, 4, self.table)
        if self._full:
            put_hex(self._octets, 45, self.block, 5, 4, self.table)

    def _plain(self, r):
        # What next() does by pairs, where the interpreter has no shared view of them.
        self._digits()
        if self._full:
            put_hex(self._octets, 22, r, 0, 7, self.table)

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
        self._mark = self._clock.ticks_ms()

    def _aged(self):
        m = self._mark
        self._mark = -1
        self.tracestate = None
        if m < 0:
            return self._short
        self._mark = -2  # the next call has an age to take back
        m = self._clock.ticks_diff(self._clock.ticks_ms(), m)
        if not 0 <= m <= 0xFFFFFFF:
            m = 0xFFFFFFF
        self.tracestate = f = self._state
        i = 11
        if not self._full:
            f = self._octets
            i = 32
        n = 7
        while n:
            f[i] = self.table[m & 15] >> 8
            m >>= 4
            i -= 1
            n -= 1
        return self._long

    def next(self):
        """Advance seq and return the context of a new message, in a buffer that the next call overwrites."""
        c = self.block
        n = c[8] + 1
        if n > 255:
            n = self._carry()
        c[8] = n
        r = self._random
        p = self.threshold
        if self._full or p:
            if n & 1:
                r = self._random8
            else:
                self._encrypt(c, r)
        if p or not self.sampled:
            p = (r[0] << 8 | r[1]) >= p
            if p != self.sampled:
                self.sampled = p
                self._octets[55 if self._full else 24] = 51 if p else 50
        t = self.table
        a = self._pairs
        if a is None:
            self._plain(r)
        else:
            p = t[n]
            a[10] = p
            if self._full:
                a[11] = t[r[0]]
                a[12] = t[r[1]]
                a[13] = t[r[2]]
                a[14] = t[r[3]]
                a[15] = t[r[4]]
                a[16] = t[r[5]]
                a[17] = t[r[6]]
                c = self._octets
                c[51] = p & 255
                c[52] = p >> 8
        if self._mark == -1:
            return self._short
        return self._aged()

    def seq(self):
        """Return the number of the last message, 0 before the first; may allocate."""
        return int.from_bytes(self.block[5:9], "big")
