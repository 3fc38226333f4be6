"""AES-128 by the book (FIPS 197), slow and obvious: the oracle for a board's cryptolib, and a stand-in for it."""


def _double(x):
    return x << 1 ^ (0x11B if x & 128 else 0)


def _times(x, y):
    product = 0
    while y:
        if y & 1:
            product ^= x
        x = _double(x)
        y >>= 1
    return product


def _substitute(x):
    # The multiplicative inverse in GF(2^8), then the affine transformation (FIPS 197, 5.1.1).
    inverse = 0
    if x:
        inverse = 1
        while _times(x, inverse) != 1:
            inverse += 1
    result = 0x63
    for turn in range(5):
        result ^= (inverse << turn | inverse >> (8 - turn)) & 255
    return result


SBOX = bytes(_substitute(x) for x in range(256))


class aes:
    """The shape of MicroPython's cryptolib.aes in ECB mode."""

    def __init__(self, key, mode):
        if len(key) != 16 or mode != 1:
            raise ValueError("a key of 16 bytes, mode 1 (ECB)")
        words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
        constant = 1
        for i in range(4, 44):
            word = list(words[i - 1])
            if i % 4 == 0:
                word = [SBOX[x] for x in word[1:] + word[:1]]
                word[0] ^= constant
                constant = _double(constant)
            words.append([a ^ b for a, b in zip(words[i - 4], word)])
        self._keys = [sum(words[i : i + 4], []) for i in range(0, 44, 4)]

    def encrypt(self, src, dst=None):
        s = [a ^ b for a, b in zip(src, self._keys[0])]
        for turn in range(1, 11):
            s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]  # SubBytes and ShiftRows
            if turn < 10:
                mixed = []
                for c in range(0, 16, 4):
                    for r in range(4):
                        a, b = s[c + r], s[c + (r + 1) % 4]
                        mixed.append(_double(a) ^ _double(b) ^ b ^ s[c + (r + 2) % 4] ^ s[c + (r + 3) % 4])
                s = mixed
            s = [a ^ b for a, b in zip(s, self._keys[turn])]
        if dst is None:
            return bytes(s)
        for i in range(16):
            dst[i] = s[i]
        return dst


class AES:
    """The shape of CircuitPython's aesio.AES."""

    def __init__(self, key, mode):
        self._aes = aes(key, mode)

    def encrypt_into(self, src, dst):
        self._aes.encrypt(src, dst)


MODE_ECB = 1
