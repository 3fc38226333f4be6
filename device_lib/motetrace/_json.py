"""JSON: where a member goes into an object, and a buffer for a device's messages about itself."""


def behind_brace(msg):
    """Return the offset behind the brace that opens a JSON object, below 0 where nothing is in it; 0: it is none."""
    i = 0
    n = len(msg) - 1
    while i < n and msg[i] in b" \t\r\n":
        i += 1
    while i < n and msg[n] in b" \t\r\n":
        n -= 1
    if i >= n or msg[i] != 123 or msg[n] != 125:
        return 0
    n = i = i + 1
    while msg[n] in b" \t\r\n":
        n += 1
    return -i if msg[n] == 125 else i


_HEX = b"0123456789abcdef"


class JsonBuffer:
    """Writes from left to right; what does not fit is left out, and `full` says so. Nothing here allocates but view().

    For text that an application hands in, see `put_text`.
    """

    def __init__(self, size):
        self.buf = bytearray(size)

    def start(self, tracer):
        """Begin anew, with what every message of a device begins with: version and boot nonce."""
        self.n = 0
        self.full = False
        self.raw(b'{"v":1,"nonce":"')
        i = 0
        while i < 5:
            self.byte(_HEX[tracer.block[i] >> 4])
            self.byte(_HEX[tracer.block[i] & 15])
            i += 1
        self.byte(34)

    def byte(self, c):
        if self.n < len(self.buf):
            self.buf[self.n] = c
            self.n += 1
        else:
            self.full = True

    def raw(self, s):
        """Write bytes as they are."""
        i = 0
        while i < len(s):
            self.byte(s[i])
            i += 1

    def number(self, n, d=1):
        """Write an int, with at least as many digits as d has; 0 bytes of heap while it is a small one."""
        if n < 0:
            self.byte(45)
            n = -n
        while n // d > 9:
            d *= 10
        while d:
            self.byte(48 + n // d % 10)
            d //= 10

    def seq(self, src, at):
        """Write the 4 bytes of src at `at`, big-endian, in decimal; as one int half of them are not small ones."""
        a = src[at] << 8 | src[at + 1]
        b = src[at + 2] << 8 | src[at + 3]
        # a * 65536 + b, in thousands: 65536 = 65 * 1000 + 536.
        b += a * 536
        a = a * 65 + b // 1000
        if a:
            self.number(a)
            self.number(b % 1000, 100)
        else:
            self.number(b)

    def member(self, name, n):
        """Write a comma, a name (bytes) and an int."""
        self.raw(b',"')
        self.raw(name)
        self.raw(b'":')
        self.number(n)

    def view(self):
        """Return what was written, sharing the buffer's memory; take bytes() of it for a client that keeps it."""
        return memoryview(self.buf)[: self.n]


def _escape(j, c):
    j.byte(92)
    j.byte(117)
    i = 12
    while i >= 0:
        j.byte(_HEX[c >> i & 15])
        i -= 4


def put_text(j, s):
    """Write a str in quotes; anything but plain printable characters as \\u and 4 digits; allocates."""
    j.byte(34)
    for c in s:
        c = ord(c)
        if c > 0xFFFF:
            c -= 0x10000
            _escape(j, 0xD800 | c >> 10)
            _escape(j, 0xDC00 | c & 0x3FF)
        elif c < 32 or c > 126 or c == 34 or c == 92:
            _escape(j, 0xFFFD if 0xD800 <= c < 0xE000 else c)  # half a pair has no meaning
        else:
            j.byte(c)
    j.byte(34)
