"""sfc16 as PractRand defines it (shifts 5, 3, 6), and motetrace's seeding of it, in plain arithmetic: an oracle."""


def blocks(key):
    """Yield, without end, 16-byte blocks of what Sfc16(key) gives: words of 16 bits, big-endian."""
    words = [key[i] * 256 + key[i + 1] for i in range(0, 16, 2)]
    state = [0, 0, 0, 1]

    def turn():
        a, b, c, counter = state
        out = (a + b + counter) % 65536
        rotated = (c * 64) % 65536 + c // 1024
        state[:] = [b ^ b // 32, (c + c * 8) % 65536, (rotated + out) % 65536, (counter + 1) % 65536]
        return out

    def turns():
        return b"".join(turn().to_bytes(2, "big") for _ in range(8))

    for half in (words[:4], words[4:]):
        state[:] = [s ^ w for s, w in zip(state, half)]
        turns()
    # One of these belongs to the second half, as the one above does to the first: the last is warming up.
    turns()
    while True:
        yield turns()
