"""Seconds counted down by a clock that wraps, also more of them than its period has."""


class Countdown:
    """Not running while left_s is 0; nothing here allocates."""

    def __init__(self, clock):
        self._clock = clock
        self.left_s = 0

    def start(self, seconds):
        """Begin anew; 0 stops it."""
        self.left_s = seconds
        self._ms = 0
        self._last = self._clock.ticks_ms()

    def over(self):
        """Let time pass; return True once, when it is up. To be called more often than every half tick period."""
        if not self.left_s:
            return False
        now = self._clock.ticks_ms()
        ms = self._clock.ticks_diff(now, self._last)
        self._last = now
        self._ms += ms
        self.left_s -= self._ms // 1000
        self._ms %= 1000
        if self.left_s > 0 and ms >= 0:  # less than nothing: half a tick period or more went by
            return False
        self.left_s = 0
        return True
