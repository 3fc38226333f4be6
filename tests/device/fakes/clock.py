"""A clock that stands still until it is told to go on, with a tick period of 2**bits ms."""


class Clock:
    def __init__(self, bits=30, now=0):
        self._period = 1 << bits
        self.now = now

    def ticks_ms(self):
        return self.now % self._period

    def ticks_diff(self, a, b):
        half = self._period >> 1
        return (a - b + half) % self._period - half
