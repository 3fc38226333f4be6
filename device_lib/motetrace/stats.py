"""The stats message: what became of this device's messages, every N publishes or T seconds."""

import gc

from motetrace import _port
from motetrace.every import Every
from motetrace.json_buffer import JsonBuffer
from motetrace.tally import Tally


class Stats(Tally):
    """A Tally that tells; only build() allocates, the view it returns (on a 32-bit board 32 bytes).

    Args:
        every, period_s: due() after so many publishes, or so many seconds: see `every`.
        counters: (name as bytes, object, attribute) of ints that go along: what else on this device counts losses.
    Raises:
        ValueError: period_s is not in 0..100000.
    """

    def __init__(self, tracer, every=100, period_s=3600, counters=(), clock=_port):
        super().__init__(tracer, clock)
        self._every = Every(every, period_s, clock)
        self._counters = counters
        n = 470  # more than all of them at their longest
        for name, _, _ in counters:
            n += 24 + len(name)
        self._json = JsonBuffer(n)

    def due(self):
        """Return whether it is time to publish build()."""
        return self._every.due(self.count)

    def build(self):
        """Return the JSON of `motetrace/<device>/stats` in a buffer that the next call overwrites.

        When it has arrived, `failed.forget()` makes room for new ranges.
        Source: docs/device-messages.md, "stats".
        """
        self.count = 0
        self._every.again()
        j = self._json
        j.start(self.tracer)
        j.raw(b',"seq":')
        j.seq(self.tracer.block, 5)
        self.write(j)
        if self.rtt_ms >= 0:
            j.member(b"rtt_ms", self.rtt_ms)
        j.member(b"ticks_ms", self._every.since)
        if hasattr(gc, "mem_free"):
            j.member(b"free_bytes", gc.mem_free())
        i = 0
        while i < len(self._counters):
            self._extra(self._counters[i])
            i += 1
        j.byte(125)
        return j.view()

    def _extra(self, c):
        self._json.member(c[0], getattr(c[1], c[2]))
