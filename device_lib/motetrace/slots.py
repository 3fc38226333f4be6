"""A number that survives a power cut while it is written: two slots of 8 bytes, written in turn, each with a check."""

# A slot: "m", the number (4 bytes, big-endian, below 2**30), the reset cause, CRC-16/CCITT of these six.


def _crc(b, at):
    c = 0xFFFF
    for i in range(at, at + 6):
        c ^= b[i] << 8
        for _ in range(8):
            c = (c << 1 ^ 0x1021) & 0xFFFF if c & 0x8000 else c << 1
    return c


def pack(n, cause):
    """Return the 8 bytes of a slot.

    Raises:
        ValueError: n is not in 0..2**30-1.
    """
    if not 0 <= n <= 0x3FFFFFFF:
        raise ValueError("number in a slot: 0..2**30-1")
    b = bytearray(8)
    b[0] = 109
    for i in range(4):
        b[1 + i] = n >> 24 - 8 * i & 255
    b[5] = cause & 255
    n = _crc(b, 0)
    b[6] = n >> 8
    b[7] = n & 255
    return b


def newest(b):
    """Return (number, cause) of the slot in b with the largest number; (0, 0) when none of them is whole."""
    n = cause = 0
    for i in range(0, len(b) - 7, 8):
        if b[i] == 109 and b[i + 1] < 64 and b[i + 6] << 8 | b[i + 7] == _crc(b, i):
            m = b[i + 1] << 24 | b[i + 2] << 16 | b[i + 3] << 8 | b[i + 4]
            if m > n:
                n = m
                cause = b[i + 5]
    return n, cause


class Slots:
    """A store for BootCount in 16 bytes of a memory with read(at, n) and write(at, data): see `memory`."""

    def __init__(self, memory, at=0):
        self._memory = memory
        self._at = at

    def load(self):
        return newest(self._memory.read(self._at, 16))

    def save(self, n, cause):
        self._memory.write(self._at + 8 * (n & 1), pack(n, cause))
        if self.load() != (n, cause):
            raise OSError("not kept")
