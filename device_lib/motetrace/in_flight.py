"""Publishes at QoS 1 that wait for their PUBACK: packet id, seq and moment, in fixed memory."""

from motetrace import _port


class InFlight:
    """The last n of them; those before are only counted, in `beyond`. Nothing here allocates.

    Attributes:
        seqs: bytearray, 4 bytes for each place.
        pending: how many wait, those beyond included.
    """

    def __init__(self, n=16, clock=_port):
        self._clock = clock
        self._pids = [0] * n
        self._ticks = [0] * n
        self.seqs = bytearray(4 * n)
        self.clear()

    def clear(self):
        self.pending = self.beyond = self._next = 0
        i = len(self._pids)
        while i:
            i -= 1
            self._pids[i] = 0

    def _find(self, pid):
        i = 0
        while i < len(self._pids):
            if self._pids[i] == pid:
                return i
            i += 1
        return -1

    def add(self, pid, src, at, again=False):
        """Note packet id `pid` (1..65535) for the seq in src at `at`; again: a retry, its former packet id is void."""
        i = self._again(src, at) if again else -1
        if i < 0:
            i = self._find(0)
            self.pending += 1
            if i < 0:
                i = self._next
                self._next = (i + 1) % len(self._pids)
                self.beyond += 1
        self._pids[i] = pid
        self._ticks[i] = self.now()
        i *= 4
        pid = 4
        while pid:
            self.seqs[i] = src[at]
            i += 1
            at += 1
            pid -= 1

    def _again(self, src, at):
        # The place where this seq waits, or -1.
        i = len(self._pids)
        while i:
            i -= 1
            if self._pids[i] and self._same(src, at, 4 * i):
                return i
        return -1

    def _same(self, src, at, i):
        n = 4
        while n:
            if self.seqs[i] != src[at]:
                return False
            i += 1
            at += 1
            n -= 1
        return True

    def take(self, pid):
        """End the wait for `pid`.

        Returns:
            Its place, -1 when it is none of ours, -2 when it may be one of those beyond.
        """
        i = self._find(pid) if pid else -1
        if i >= 0:
            self._pids[i] = 0
        elif self.beyond:
            self.beyond -= 1
            i = -2
        else:
            return -1
        self.pending -= 1
        return i

    def now(self):
        return self._clock.ticks_ms()

    def after_ms(self, ticks):
        """Return how long ago that was."""
        return self._clock.ticks_diff(self._clock.ticks_ms(), ticks)

    def waited_ms(self, i):
        """Return how long place i has waited."""
        return self.after_ms(self._ticks[i])
