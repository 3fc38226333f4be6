"""Bytes and times in, values out: no sockets, clocks, threads, randomness or environment; a test holds this."""
