"""Texts of contexts, made ready for eight messages at a time and renewed in place: what a Tracer hands out."""

from motetrace import _port

# Everything lies in one buffer. What is handed out are views of it: 16 texts, one for each value of seq's last digit.
#   0..63    four blocks of the cipher's input: boot nonce 5, seq 4 (big-endian), 6 of the seed, a byte that is 1 at
#            boot only. The first is `block`. Their seqs are those of 8 messages' first, third, fifth and seventh.
#   64..127  its output: 8 times 7 random bytes and one that is not used
#   129      for the accelerator: not 0 when a mark, a forced message or an age has to be seen to
#   144..    the texts, 56 bytes each (seqref: 32); of a traceparent's the random digits begin at an even offset
#            .00-nnnnnnnnnnSSSSSSSSrrrrrrrrrrrrrr-bbbbbbbbSSSSSSSS-ff    nnnnnnnnnn-SSSSSSSS-ff-aaaaaaa..
# 1040     of a traceparent: the 256 pairs of digits


def put_hex(dst, at, src, i, n, table):
    """Write n bytes of src from i as 2n digits into dst from `at`; `table` is a tracer's."""
    while n:
        dst[at] = table[src[i] >> 4]
        dst[at + 1] = table[src[i] & 15]
        at += 2
        i += 1
        n -= 1


class Texts:
    """16 texts in one buffer, one for each value of seq's last digit, and what renews them; see Tracer."""

    def __init__(self, full, entropy):
        self._full = full
        self.table = d = b"0123456789abcdef"  # put_hex's
        self._size = n = 56 if full else 32
        text = b".00-%32s-%16s-03" if full else b"%10s-%8s-03-0000000.."
        text = text % (b"", b"") * 16
        self._octets = f = bytearray(bytes(144) + text + bytes(512 if full else 0))
        view = _port.view
        self._block = view(f, 0, 16)
        self._blocks = view(f, 0, 64)
        self._first = view(f, 64, 16)
        self._random = view(f, 64, 64)
        text = view(f, 144, n * 16)
        self._columns, self._paint, self._rows, self._palette = _port.painter(text, n, self._random, view(f, 1040, 512))
        # Rows are [text, next row, text with age, its end], in two chains of what is made ready at a time. Of a seqref
        # without a threshold nothing is, and they are one.
        row = other = None
        i = 16
        while i:
            i -= 1
            at = 144 + i * n
            f[at + 21 if full else at + 18] = d[i]
            if full:
                f[at + 52] = d[i]
                text = long = view(f, at + 1, 55)
                age = None
            else:
                text = view(f, at, 22)
                long = view(f, at, 30)
                age = view(f, at + 18, 12)
            row = [text, row, long, age]
            if i == 8:
                other = row
                if full:
                    row = None
            elif i == 7:
                self._split = row
        self._heads = row, other
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
        # Have ready what further messages need, from n or, if that is None, the next one; return the first one's row.
        f = self._octets
        p = self._paint
        if n is None:
            n = (f[8] | (7 if p or self._sampling else 15)) + 1
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
        k = self._size
        i = (n & 7) * 8 + 64
        n = (n & 15) * k + (199 if self._full else 165)
        while i < 128:
            f[n] = t[f[i]] or (51 if f[i + 1] >= self._threshold & 255 else 50)
            n += k
            i += 8
