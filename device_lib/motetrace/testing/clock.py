"""Milliseconds that pass only when a test says so."""

import asyncio

PERIOD = 1 << 30  # as on a board of 32 bits: 12.4 days


class Ticks:
    """MicroPython's ticks of `time`, at 0 until they are stepped; also a `clock` for any class of motetrace."""

    def __init__(self) -> None:
        self._us = 0

    def reset(self) -> None:
        """Begin at 0 again."""
        self._us = 0

    def step(self, ms: int) -> None:
        """Let `ms` milliseconds pass; also more than the period of 2**30."""
        self._us += 1000 * ms

    def ticks_ms(self) -> int:
        """Milliseconds, 0..2**30-1."""
        return self._us // 1000 % PERIOD

    def ticks_us(self) -> int:
        """Microseconds, 0..2**30-1."""
        return self._us % PERIOD

    def ticks_add(self, ticks: int, delta: int) -> int:
        """The moment `delta` after (or, negative, before) another."""
        return (ticks + delta) % PERIOD

    def ticks_diff(self, end: int, start: int) -> int:
        """How long after `start` `end` is: -2**29..2**29-1."""
        return (end - start + PERIOD // 2) % PERIOD - PERIOD // 2

    def sleep_ms(self, ms: int) -> None:
        """Step instead of sleeping."""
        self.step(ms)

    def sleep_us(self, us: int) -> None:
        """Step instead of sleeping."""
        self._us += us

    async def sleep_ms_async(self, ms: int) -> None:
        """Step instead of sleeping, and let other tasks run."""
        self.step(ms)
        await asyncio.sleep(0)


ticks = Ticks()
