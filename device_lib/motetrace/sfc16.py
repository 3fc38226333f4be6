"""Randomness for boards without AES: sfc16 (Doty-Humphrey, PractRand), 64 bits of state in small ints."""


def fold(data):
    """Return 32 bytes that depend on every byte of data; for builds without SHA-256 only."""
    out = bytearray(32)
    a = 0x6D6F
    i = 0
    n = len(data)
    while i < n + 96:  # three more rounds after the last byte
        a = (a * 25173 + 13849 + (data[i] if i < n else 0) + out[(i + 1) & 31]) & 0xFFFF
        out[i & 31] ^= a >> 8
        i += 1
    return out


class Sfc16:
    """A generator seeded from 16 bytes; fill(src, dst) has the shape of a cipher's encrypt."""

    def __init__(self, key):
        self._s = s = [0, 0, 0, 1]
        tmp = bytearray(16)
        for i in range(0, 16, 2):
            s[i >> 1 & 3] ^= key[i] << 8 | key[i + 1]
            if i == 6:
                self.fill(None, tmp)
        self.fill(None, tmp)
        self.fill(None, tmp)

    def fill(self, src, dst):
        s = self._s
        i = 0
        while i < 16:
            x = s[0] + s[1] + s[3] & 0xFFFF
            s[3] = s[3] + 1 & 0xFFFF
            s[0] = s[1] ^ s[1] >> 5
            s[1] = s[2] + (s[2] << 3) & 0xFFFF
            s[2] = ((s[2] << 6 | s[2] >> 10) & 0xFFFF) + x & 0xFFFF
            dst[i] = x >> 8
            dst[i + 1] = x & 255
            i += 2
