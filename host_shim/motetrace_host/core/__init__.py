"""The pure core: bytes and times in, values out. No sockets, clocks, threads, randomness or environment."""
