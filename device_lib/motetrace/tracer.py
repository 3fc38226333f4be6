"""The trace context of this device's messages: texts made ready for several at a time, renewed in place."""

from motetrace import _port

# Everything lies in one buffer. What is handed out are views of it: 16 texts, one for each value of seq's last digit.
#   0..63    four blocks of the cipher's input: boot nonce 5, seq 4 (big-endian), 6 of the seed, a byte that is 1 at boot
#            only. The first is `block`. Their seqs are those of 8 messages' first, third, fifth and seventh.
#   64..127  its output: 8 times 7 random bytes and one that is not used
#   129      for the accelerator: not 0 when a mark, a forced message or an age has to be seen to
#   132..143 "mt=a:0000000", a traceparent's age
#   144..    the texts, 56 bytes each (seqref: 32); of a traceparent's the random digits begin at an even offset
#            .00-nnnnnnnnnnSSSSSSSSrrrrrrrrrrrrrr-bbbbbbbbSSSSSSSS-ff    nnnnnnnnnn-SSSSSSSS-ff-aaaaaaa..


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
        self._full = full = mode == "traceparent"
        if not (full or mode == "seqref") or not 0 <= threshold <= 65536:
            raise ValueError("mode: traceparent or seqref; threshold: 0..65536")
        self.mode = mode
        self.tracestate = None  # after next(): bytes to send beside a traceparent, or None
        self.table = d = b"0123456789abcdef"  # put_hex's
        self._ticks = clock.ticks_ms
        self._diff = clock.ticks_diff
        self._size = n = 56 if full else 32
        text = b".00-%32s-%16s-03" if full else b"%10s-%8s-03-0000000.."
        self._octets = f = bytearray(bytes(132) + b"mt=a:0000000" + text % (b"", b"") * 16)
        view = _port.view
        self._block = view(f, 0, 16)
        self._first = view(f, 64, 16)
        self._blocks = view(f, 0, 64)
        self._random = view(f, 64, 64)
        self._columns, self._paint, self._rows, self._palette = _port.painter(view(f, 144, n * 16), n, self._random)
        self._age = view(f, 114, 30) if full else None  # ends as a seqref does
        self._aged = view(f, 132, 12) if full else None
        # Rows are (text, next row, text with age), in two chains: what is made ready at a time.
        row = other = None
        i = 16
        while i:
            i -= 1
            at = 144 + i * n
            f[at + 21 if full else at + 18] = d[i]
            if full:
                f[at + 52] = d[i]
                text = long = view(f, at + 1, 55)
            else:
                text = view(f, at, 22)
                long = view(f, at, 30)
            row = (text, row, long)
            if i == 8:
                other = row
                row = None
        self._heads = row, other
        self._short = text
        if _fast:
            row = [text, None, long]
            row[1] = row
        # The last message's row; ~ticks_ms() of a mark: below 0, or 1 when the last context had an age, or the next is
        # forced; digits of an age beyond the last 4; forced.
        self._state = [row, 0, not full, False]
        d = _port.seed(entropy)
        self.source, self._encrypt = _port.cipher(d[:16])
        self._fill = _port.several(self._encrypt, self._blocks, self._random)
        i = 9
        while i < 64:
            f[i] = d[(i & 15) + 7] if 8 < i & 15 < 15 else 0
            i += 1
        self._threshold = 0
        self._sampling = None
        self._boot()
        if threshold:
            self.threshold = threshold

    def _boot(self):
        # A new boot nonce and parent-id prefix, seq back to 0: at construction, and when seq has run out.
        f = self._octets
        f[8] = 0
        i = 5
        while i < 8:
            f[i] = 0
            i += 1
        f[15] = 1
        self._encrypt(self._block, self._first)
        f[15] = 0
        if self._full:
            i = 0
            while i < 4:
                self._digits(37 + 2 * i, f[69 + i])
                i += 1
        i = 0
        while i < 8:
            self._byte(i, f[64 + i] if i < 5 else 0)
            i += 1
        self._draw(0)

    def _digits(self, x, n):
        # The two digits of a byte, in every text.
        self._columns.vline(x, 0, 16, self.table[n >> 4])
        self._columns.vline(x + 1, 0, 16, self.table[n & 15])

    def _byte(self, i, n):
        # A byte of nonce or seq, in the cipher's input and in the texts.
        f = self._octets
        f[i] = f[i + 16] = f[i + 32] = f[i + 48] = n
        if self._full:
            if i > 4:
                self._digits(2 * i + 35, n)
            self._digits(2 * i + 4, n)
        else:
            self._digits(2 * i + (i > 4), n)

    def _carry(self):
        # seq's low byte ran over: return its new value.
        i = 7
        while i > 4:
            n = self._octets[i] + 1 & 255
            self._byte(i, n)
            if n:
                return 0
            i -= 1
        self._boot()
        return 1

    def _draw(self, n):
        # Have ready what 8 messages need, from n or, if that is None, from the next one; return the first one's row.
        f = self._octets
        p = self._paint
        if n is None:
            n = (f[8] | 7) + 1
            if n > 255:
                if self._carry():
                    return self._heads[0][1]
                n = 0
        f[8] = n
        if p or self._sampling:
            f[24] = n + 2
            f[40] = n + 4
            f[56] = n + 6
            self._fill(self._blocks, self._random)
            if p:
                p.blit(self._rows, 11, n & 8, -1, self._palette)
            if self._sampling:
                self._sample(n)
        if n & 8:
            return self._heads[1]
        f = self.table[n >> 4]
        self._columns.vline(20 if p else 17, 0, 16, f)
        if p:
            self._columns.vline(51, 0, 16, f)
        return self._heads[0]

    def _sample(self, n):
        # The flags of message n and of those behind it that are ready.
        f = self._octets
        t = self._sampling
        i = (n & 7) * 8 + 64
        n = (n & 15) * self._size + (199 if self._full else 165)
        while i < 128:
            f[n] = t[f[i]] or (51 if f[i + 1] >= self._threshold & 255 else 50)
            n += self._size
            i += 8

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
        r = s[0][1] or self._draw(None)
        s[0] = r
        m = s[1]
        if not m:
            return r[0]
        if m > 0:
            return self._unmarked(r)
        s[1] = 1  # the next call has an age to take back
        t = self._ticks()
        if t - ~m >> 28:  # its period ended meanwhile, or more than 7 digits
            m = self._diff(t, ~m)
            if m >> 28:
                m = 0xFFFFFFF
        else:
            m = t - ~m
        t = self._age or r[2]
        t[29] = b"0123456789abcdef"[m & 15]
        t[28] = b"0123456789abcdef"[m >> 4 & 15]
        t[27] = b"0123456789abcdef"[m >> 8 & 15]
        t[26] = b"0123456789abcdef"[m >> 12 & 15]
        m >>= 16
        if m or s[2]:  # most ages fit 4 digits, and the other 3 are 0 already
            s[2] = m or not self._age
            t[25] = b"0123456789abcdef"[m & 15]
            t[24] = b"0123456789abcdef"[m >> 4 & 15]
            t[23] = b"0123456789abcdef"[m >> 8]
            if s[3]:
                s[3] = False
                r[0][-1] = 51
        if self.tracestate is not self._aged:
            self.tracestate = self._aged
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
