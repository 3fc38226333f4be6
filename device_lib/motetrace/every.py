"""Whether it is time again: after so many publishes, or so many seconds, whichever is first."""


class Every:
    """Not to be asked for more than half a tick period is as good as the time having come.

    Args:
        publishes: 0: not by these.  seconds: up to 100000, 0: not by these.
    Raises:
        ValueError: seconds is not in 0..100000.
    """

    def __init__(self, publishes, seconds, clock):
        if not 0 <= seconds <= 100000:  # less than half of 2**28 ms, what can be measured where ticks wrap at 2**29
            raise ValueError("seconds: 0..100000")
        self._publishes = publishes
        self._period_ms = seconds * 1000
        self._clock = clock
        self.since = clock.ticks_ms()

    def again(self):
        """Count from now on."""
        self.since = self._clock.ticks_ms()

    def due(self, count):
        """Return whether it is time, `count` publishes after the last."""
        if 0 < self._publishes <= count:
            return True
        d = self._clock.ticks_diff(self._clock.ticks_ms(), self.since)
        return self._period_ms > 0 and not 0 <= d < self._period_ms
