"""The messages of a device about itself: birth, once per boot, and stats, the counts of what became of its readings."""

import gc

from motetrace import _port
from motetrace._json import JsonBuffer, put_text


def ticks_bits(clock=_port):
    """Return b where clock.ticks_ms() wraps at 2**b: the difference to 0 turns negative at half of it."""
    b = 1
    while clock.ticks_diff(1 << b, 0) > 0:
        b += 1
    return b + 1


def _text(j, name, s):
    j.raw(b',"%s":' % name)
    put_text(j, s)


def birth(tracer, firmware="", baggage=None, reset="", boot=None, expiry_s=0, size=512, clock=_port):
    """Return the JSON of `motetrace/<device>/birth`, to be published retained at QoS 1 after connecting; allocates.

    Args:
        firmware: version of the application, up to 64 characters, shown as device.firmware.
        baggage: dict that the host attaches to every trace of this boot: at most 64, names and values by str().
        reset: why this boot happened, a name of boot.NAMES.  boot: BootCount.count, None: not kept.
        expiry_s: message expiry that readings are published with, 0: none.
        size: of the buffer it is built in, at most 4096.  clock: the tracer's, where that is not the default.
    Raises:
        ValueError: it does not fit, or a limit is exceeded. Call it once while developing and it never will.
    Source: docs/device-messages.md, "birth".
    """
    if len(firmware) > 64 or size > 4096 or baggage and len(baggage) > 64:
        raise ValueError("firmware: up to 64 characters; size: up to 4096; baggage: up to 64")
    j = JsonBuffer(size)
    j.start(tracer)
    _text(j, b"mode", tracer.mode)
    j.member(b"threshold", tracer.threshold)
    j.member(b"ticks_bits", ticks_bits(clock))
    if boot is not None:
        j.member(b"boot", boot)
    if expiry_s:
        j.member(b"expiry_s", expiry_s)
    if reset:
        _text(j, b"reset", reset)
    if firmware:
        _text(j, b"fw", firmware)
    if baggage:
        c = b',"baggage":{'
        for name in baggage:
            j.raw(c)
            c = b","
            put_text(j, str(name))
            j.byte(58)
            put_text(j, str(baggage[name]))
        j.byte(125)
    j.byte(125)
    if j.full:
        raise ValueError("birth: over %d bytes, shorten baggage or size=..4096" % size)
    return bytes(j.view())


class Ranges:
    """At most n ranges of 32-bit seqs; `more` counts those that fit in none. Nothing here allocates.

    A number is 4 bytes of a buffer, big-endian: as an int half of them would not be small ones.
    """

    def __init__(self, n=8):
        self._b = bytearray(8 * n)  # first and last of each
        self.n = self.more = self._written = self._written_more = 0

    def _beyond(self, src, at, i):
        # How far src is beyond the number at i, cut to -2..2 where the upper halves differ by more than one.
        b = self._b
        d = (src[at] << 8 | src[at + 1]) - (b[i] << 8 | b[i + 1])
        if d > 1 or d < -1:
            return 2 * d
        return (d << 16) + (src[at + 2] << 8 | src[at + 3]) - (b[i + 2] << 8 | b[i + 3])

    def _put(self, src, at, i, n):
        while n:
            self._b[i] = src[at]
            i += 1
            at += 1
            n -= 1

    def add(self, src, at=0):
        """Take in the number in src at `at`; one that is there already counts once."""
        i = 0
        while i < 8 * self.n:
            if self._beyond(src, at, i) >= 0:
                d = self._beyond(src, at, i + 4)
                if d == 1:
                    self._put(src, at, i + 4, 4)
                    self._written = min(self._written, i >> 3)  # to be written again
                if d < 2:
                    return
            i += 8
        if i < len(self._b):
            self._put(src, at, i, 4)
            self._put(src, at, i + 4, 4)
            self.n += 1
        elif self.more < 0x3FFFFFFF:
            self.more += 1

    def take_back(self, src, at=0):
        """Drop a number if it is the last one taken in: a retry of it went through."""
        i = 8 * self.n - 8
        if i >= 0 and not self._beyond(src, at, i + 4):
            self._written = min(self._written, i >> 3)
            if not self._beyond(src, at, i):
                self.n -= 1
            i += 7
            while not self._b[i]:
                self._b[i] = 255
                i -= 1
            self._b[i] -= 1

    def write(self, j):
        """Write [[first, last], ...] into a JsonBuffer."""
        j.byte(91)
        i = 0
        while i < 8 * self.n:
            j.raw(b",[" if i else b"[")
            j.seq(self._b, i)
            j.byte(44)
            j.seq(self._b, i + 4)
            j.byte(93)
            i += 8
        j.byte(93)
        self._written = self.n
        self._written_more = self.more

    def forget(self):
        """Drop what was written last: it has arrived. What came or changed since stays."""
        self.n -= self._written
        self._put(self._b, 8 * self._written, 0, 8 * self.n)
        self.more -= self._written_more
        self._written = self._written_more = 0


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


class Tally:
    """Counts what a Counted, or the application itself, reports of each publish; nothing here allocates.

    Attributes:
        failed: Ranges of seqs whose publish raised, or was refused by the broker with a reason code.
        acked, lost: publishes at QoS 1 whose PUBACK came, and those given up waiting for.
        rtt_ms: the smallest time to a PUBACK, -1: none yet.
        count: publishes since it was set to 0.
    """

    def __init__(self, tracer, clock=_port):
        self.tracer = tracer
        self.failed = Ranges()
        self.in_flight = InFlight(16, clock)
        self.acked = self.lost = self.count = 0
        self.rtt_ms = -1

    def published(self, pid=0, dup=False):
        """A publish of the tracer's last seq was handed over; pid: its packet id at QoS 1, where the client says."""
        self.count += 1
        if dup:
            self.failed.take_back(self.tracer.block, 5)
        if pid:
            self.in_flight.add(pid, self.tracer.block, 5, dup)

    def raised(self):
        """The publish of the tracer's last seq raised."""
        self.count += 1
        self.failed.add(self.tracer.block, 5)

    def status(self, pid, status):
        """To be set as umqtt.simple2's status callback: 1 acked, 0 timeout, from 128 on the broker's refusal."""
        i = self.in_flight.take(pid)
        if i == -1:
            return
        if status == 1:
            self.arrived(self.in_flight.waited_ms(i) if i >= 0 else -1)
        elif status > 127 and i >= 0:
            self.failed.add(self.in_flight.seqs, 4 * i)
        else:
            self.lost += 1

    def arrived(self, rtt_ms=-1):
        """A PUBACK came, after rtt_ms if that is known."""
        self.acked += 1
        if rtt_ms >= 0 and not 0 <= self.rtt_ms <= rtt_ms:
            self.rtt_ms = rtt_ms

    def session_lost(self):
        """The client forgot what it waited for: after connecting with clean_session."""
        self.lost += self.in_flight.pending
        self.in_flight.clear()

    def write(self, j):
        """Write the counts into a JsonBuffer, as members."""
        j.raw(b',"failed":')
        self.failed.write(j)
        j.member(b"more", self.failed.more)
        j.member(b"acked", self.acked)
        j.member(b"lost", self.lost)
        j.member(b"pending", self.in_flight.pending)


class Stats(Tally):
    """A Tally and the stats message made of it; only build() allocates: the view it returns, 32 bytes on a board.

    Args:
        every, period_s: due() after so many publishes, or so many seconds, up to 100000, whichever is first; 0: not by
            these. Not to be asked for more than half a tick period is as good as the time having come.
        counters: (name as bytes, object, attribute) of ints that go along: what else on this device counts losses.
    Raises:
        ValueError: period_s is not in 0..100000.
    """

    def __init__(self, tracer, every=100, period_s=3600, counters=(), clock=_port):
        super().__init__(tracer, clock)
        if not 0 <= period_s <= 100000:  # less than half of 2**28 ms, what can be measured where ticks wrap at 2**29
            raise ValueError("period_s: 0..100000")
        self._every = every
        self._period_ms = period_s * 1000
        self._since = clock.ticks_ms()
        self._counters = counters
        n = 470  # more than all of them at their longest
        for name, _, _ in counters:
            n += 24 + len(name)
        self._json = JsonBuffer(n)

    def due(self):
        """Return whether it is time to publish build()."""
        if 0 < self._every <= self.count:
            return True
        d = self.in_flight.after_ms(self._since)
        return self._period_ms > 0 and not 0 <= d < self._period_ms

    def build(self):
        """Return the JSON of `motetrace/<device>/stats` in a buffer that the next call overwrites.

        When it has arrived, `failed.forget()` makes room for new ranges.
        Source: docs/device-messages.md, "stats".
        """
        self.count = 0
        self._since = self.in_flight.now()
        j = self._json
        j.start(self.tracer)
        j.raw(b',"seq":')
        j.seq(self.tracer.block, 5)
        self.write(j)
        if self.rtt_ms >= 0:
            j.member(b"rtt_ms", self.rtt_ms)
        j.member(b"ticks_ms", self._since)
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


class Counted:
    """The client (a carrier's, or any other) with a publish() that counts; everything else is the client's own.

    A publish() that takes no seq (a payload left alone, a client without a carrier) is passed through; one that raises
    is then counted in `unnumbered`. While a publish() is under way, what it calls must not publish through this.

    Args:
        waits: its publish() at QoS 1 returns when the PUBACK is there: umqtt.simple, minimqtt. Otherwise it returns
            the packet id, and the tally's status() is the client's status callback.
    """

    def __init__(self, client, tally, waits=False):
        self.client = client
        self.tally = tally
        self.unnumbered = 0
        self._waits = waits
        self._before = bytearray(4)
        self._topic = self._msg = None

    def __getattr__(self, name):
        return getattr(self.client, name)

    def _numbered(self):
        # Whether seq is another than at the last call.
        b = self._before
        c = self.tally.tracer.block
        n = 4
        same = True
        while n:
            n -= 1
            if b[n] != c[5 + n]:
                b[n] = c[5 + n]
                same = False
        return not same

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        # The arguments wait in attributes: with them, a `try` and a call the frame would be put on the heap.
        self._topic = topic
        self._msg = msg
        self._retain = retain
        self._qos = qos
        self._dup = dup
        self._numbered()
        if qos and self._waits:
            self._since = self.tally.in_flight.now()
        self._send()
        return self._done(self._pid)

    def _send(self):
        try:
            if self._dup:
                self._pid = self.client.publish(self._topic, self._msg, self._retain, self._qos, True)
            else:
                self._pid = self.client.publish(self._topic, self._msg, self._retain, self._qos)
        except BaseException:
            self._raised()
            raise

    def _raised(self):
        self._topic = self._msg = None
        if self._numbered():
            self.tally.raised()
        elif not self._dup:  # a retry's seq is failed or in flight already
            self.unnumbered += 1

    def _done(self, pid):
        self._topic = self._msg = None
        if self._numbered() or self._dup:
            t = self.tally
            if self._waits or not self._qos:
                t.published(0, self._dup)
                if self._qos:
                    t.arrived(t.in_flight.after_ms(self._since))
            else:
                t.published(pid if isinstance(pid, int) else 0, self._dup)
        return pid


class CountedAsync:
    """The client (`mqtt_as.MQTTClient` of this package) with a publish() that counts; everything else is its own.

    Any number of tasks may publish at a time: the client takes a message's seq when its publish() is called, before
    anything is awaited. It returns when the PUBACK is there; until then the message is pending, also through an outage.
    """

    def __init__(self, client, tally):
        self.client = client
        self.tally = tally

    def __getattr__(self, name):
        return getattr(self.client, name)

    async def publish(self, topic, msg, retain=False, qos=0, properties=None):
        t = self.tally
        since = t.in_flight.now()
        before = bytes(t.tracer.block[5:9])
        if properties:
            sending = self.client.publish(topic, msg, retain, qos, properties)
        else:
            sending = self.client.publish(topic, msg, retain, qos)
        seq = bytes(t.tracer.block[5:9])
        if seq == before:
            return await sending
        t.count += 1
        t.in_flight.pending += 1
        try:
            answer = await sending
        except BaseException:
            t.failed.add(seq)
            raise
        finally:
            t.in_flight.pending -= 1
        if qos:
            t.arrived(t.in_flight.after_ms(since))
        return answer
