"""The age of a reading that waits while the device sleeps deeply: kept in memory that outlives the sleep."""

from motetrace import _port
from motetrace.slots import newest, pack


class Asleep:
    """A clock for Tracer(clock=...) of a device that reads, sleeps, wakes by a reset and then publishes.

        before:  asleep = Asleep(RtcMemory());  asleep.keep(reading_ticks, sleep_ms);  machine.deepsleep(sleep_ms)
        after:   asleep = Asleep(RtcMemory());  tracer = Tracer(clock=asleep);  if asleep.woke(tracer): publish

    The age is as good as the sleep is long: a device that is woken before its time says too much.

    Args:
        memory: with read(at, n) and write(at, data): see `memory`.  at: of 8 bytes, after those of the boot count.
    """

    def __init__(self, memory, at=16, clock=_port):
        self._memory = memory
        self._at = at
        self._clock = clock
        self._more_ms = 0
        self.ticks_ms = clock.ticks_ms

    def ticks_diff(self, a, b):
        """The clock's own, and once, after woke(), what went before."""
        ms = self._clock.ticks_diff(a, b) + self._more_ms
        self._more_ms = 0
        return ms

    def keep(self, reading_ticks, sleep_ms):
        """Keep the age that a reading taken at reading_ticks will have after sleep_ms.

        Returns:
            False when the memory refuses; never raises.
        """
        ms = self._clock.ticks_diff(self._clock.ticks_ms(), reading_ticks)
        if not 0 <= ms + sleep_ms <= 0xFFFFFFF:
            ms = 0xFFFFFFF - sleep_ms
        try:
            self._memory.write(self._at, pack(ms + sleep_ms, 0))
            return True
        except Exception:
            return False

    def woke(self, tracer):
        """Mark the reading that was kept, if there is one: the next context carries its age since then.

        Returns:
            Whether there was one; it is there once only, and never after power was gone.
        """
        try:
            ms, _ = newest(self._memory.read(self._at, 8))
            self._memory.write(self._at, bytes(8))
        except Exception:
            return False
        if not ms:
            return False
        tracer.mark()
        self._more_ms = ms + self._clock.ticks_ms()  # ticks begin at 0 when the device wakes
        return True
