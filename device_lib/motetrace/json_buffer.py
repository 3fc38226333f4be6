"""JSON written into a buffer that is made once: for what a device says about itself."""


class JsonBuffer:
    """Writes from left to right; what does not fit is left out, and `full` says so. Nothing here allocates but view().

    For text that an application hands in, see `json_text`.
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
            self.byte(b"0123456789abcdef"[tracer.block[i] >> 4])
            self.byte(b"0123456789abcdef"[tracer.block[i] & 15])
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
