"""A day of a device: 100,000 readings, resets, tick wraps, outages, a broker that stalls, refuses and forgets.

    micropython day.py [READINGS]

The broker keeps its own account; at each reset it is held against what the device said. Prints one line of JSON:
totals, and the heap in use after a collection when all was warm, and at the end: each the least of some looks, for the
collector goes by what looks like an address, and a look may find one of something long gone. What leaks is in each.
"""

import gc
import json
import sys

from clock import Clock
from stores import Budget, Disk

from motetrace import Tracer
from motetrace import boot as stores
from motetrace.boot import BootCount
from motetrace.messages import Counted, Stats, birth
from motetrace.sampling import Sampling

READING_MS = 864
TOPIC = b"devices/d/telemetry"
PLACES = 256
WARM = 3  # boots that load what is loaded once
LOOKS = 5  # at the heap, a reading or a boot apart
BOOT = 500  # readings of a short boot


class Draw:
    """Numbers that look random, the same at each run: 16 bits of state, no heap."""

    def __init__(self):
        self.x = 1

    def below(self, n):
        self.x = (self.x * 1103 + 12345) % 65521
        return self.x % n


class Broker:
    """The network, the broker and the host: what it took, acknowledged, refused, and was told."""

    def __init__(self, draw, clock):
        self.draw = draw
        self.clock = clock
        self.down = False
        self.stalled = False
        self.pid = 0
        self.pids = [0] * PLACES  # waiting to be answered, oldest first
        self.first = self.n = 0
        self.raised = bytearray(2048)  # a bit for each seq of this boot
        self.refused = bytearray(2048)
        self.told = bytearray(2048)
        self.told_more = 0
        self.stats = None
        self.begin(None)

    def begin(self, tracer):
        self.tracer = tracer
        self.first = self.n = self.told_more = 0
        self.acked = self.timeouts = self.at_most_once = 0
        for bits in (self.raised, self.refused, self.told):
            for i in range(len(bits)):
                bits[i] = 0

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        if not dup:
            self.tracer.next()
        seq = self.tracer.seq()
        if self.down:
            self.raised[seq >> 3] |= 1 << (seq & 7)
            raise OSError(104)
        self.raised[seq >> 3] &= ~(1 << (seq & 7))  # a retry that went through
        if not qos:
            self.at_most_once += 1
            return None
        self.pid = self.pid % 65535 + 1
        assert self.n < PLACES
        self.pids[(self.first + self.n) % PLACES] = self.pid << 14 | seq
        self.n += 1
        return self.pid

    def answer(self, status):
        """Give back to the device what became of some of the publishes that wait."""
        if self.down or self.stalled:
            return
        while self.n > self.draw.below(4):
            pid = self.pids[self.first]
            seq = pid & 0x3FFF
            pid >>= 14
            self.first = (self.first + 1) % PLACES
            self.n -= 1
            fate = self.draw.below(997)
            if fate == 0:
                self.timeouts += 1
                status(pid, 0)
            elif fate == 1:
                self.refused[seq >> 3] |= 1 << (seq & 7)
                status(pid, 0x97)
            else:
                self.acked += 1
                status(pid, 1)

    def hear(self, message):
        """A stats message arrived."""
        said = json.loads(bytes(message).decode())
        for first, last in said["failed"]:
            while first <= last:
                self.told[first >> 3] |= 1 << (first & 7)
                first += 1
        self.stats = said
        return said["more"]

    def check(self, device):
        """Every seq of this boot is accounted for, by both sides in the same way."""
        more = self.told_more + self.hear(device.stats.build())
        said = self.stats
        raised = refused = known = 0
        for seq in range(1, said["seq"] + 1):
            bit = 1 << (seq & 7)
            r = self.raised[seq >> 3] & bit
            f = self.refused[seq >> 3] & bit
            t = self.told[seq >> 3] & bit
            raised += r > 0
            refused += f > 0
            known += t > 0
            assert not t or r or f, seq  # nothing is said to have failed that did not
        assert said["seq"] == self.tracer.seq()
        assert said["acked"] == self.acked and said["pending"] == self.n
        assert known + more + said["lost"] == raised + refused + self.timeouts, (known, more, said, raised, refused)
        failed = known + more
        assert said["seq"] == said["acked"] + failed + said["lost"] + said["pending"] + self.at_most_once
        return said["seq"], said["acked"], failed, said["lost"], said["pending"], self.at_most_once


class Device:
    """What a firmware makes of the library, from reset to reset."""

    def __init__(self, broker, clock):
        self.broker = broker
        self.tracer = t = Tracer("seqref" if broker.draw.below(2) else "traceparent", clock=clock)
        broker.begin(t)
        self.boot = BootCount(stores.FileSlots, broker.draw.below(8))
        self.stats = Stats(t, 100, 600, clock=clock)
        self.sampling = Sampling(t, clock)
        self.client = Counted(broker, self.stats)
        said = json.loads(birth(t, "1.0", boot=self.boot.count, clock=clock).decode())
        assert said["boot"] == self.boot.count and said["ticks_bits"] == clock.ticks_bits
        self.last_failed = False

    def reading(self, draw):
        self.tracer.mark()
        self.broker.clock.now += draw.below(200)
        try:
            qos = 1 if draw.below(4) else 0
            if self.last_failed and self.stats.failed.n < 8 and draw.below(2):
                self.client.publish(TOPIC, b'{"t":20.5}', False, qos, True)
                self.last_failed = False
            self.client.publish(TOPIC, b'{"t":21.5}', False, qos)
            self.last_failed = False
        except OSError:
            self.last_failed = True
        self.broker.answer(self.stats.status)
        self.sampling.poll()
        if self.stats.due():
            message = self.stats.build()
            if not self.broker.down:
                self.broker.told_more += self.broker.hear(message)
                self.stats.failed.forget()
        if draw.below(5000) == 0:
            self.sampling.desired(b'{"mode":"on","rate":0.1,"for_s":%d}' % (1 + draw.below(40000)))


class Life:
    def __init__(self):
        self.draw = Draw()
        self.clock = Clock()
        self.broker = Broker(self.draw, self.clock)
        self.totals = [0] * 6
        self.boots = self.wraps = self.outages = self.ms = 0
        disk = Disk(Budget(), True)
        stores.open = disk.open

    def reset(self):
        """A clock whose next wrap is near, of one period or the other: soft resets let ticks go on."""
        bits = 29 if self.draw.below(2) else 30
        self.clock.__init__(bits, (1 << bits) - 1000 * (1 + self.draw.below(3000)))
        self.clock.ticks_bits = bits
        return Device(self.broker, self.clock)

    def in_use(self, device):
        """The heap in use, where what was heard last is the same each time."""
        self.broker.stats = None
        self.clock.now = self.clock.ticks_ms()  # beyond its period it would not be a small int
        device.sampling.desired(b'{"mode":"inherit"}')
        return in_use()

    def boot(self, readings):
        device = self.reset()
        self.boots += 1
        assert device.boot.count == self.boots
        until = 0
        begun = ended = 1 << 30
        for n in range(readings):
            if self.boots > WARM:
                if 300 <= n < 300 + LOOKS:
                    begun = min(begun, self.in_use(device))
                elif n >= readings - LOOKS:
                    ended = min(ended, self.in_use(device))
            before = self.clock.ticks_ms()
            self.clock.now += READING_MS - self.draw.below(200)
            if n >= until:
                self.broker.down = self.broker.stalled = False
                kind = self.draw.below(400)
                if kind == 0:
                    self.broker.down = True
                    until = n + 1 + self.draw.below(800)
                    self.outages += 1
                elif kind < 3:
                    self.broker.stalled = True
                    until = n + 1 + self.draw.below(60)
            device.reading(self.draw)
            self.wraps += self.clock.ticks_ms() < before
            self.ms += self.clock.ticks_ms() - before & (1 << self.clock.ticks_bits) - 1
        assert ended <= begun, (begun, ended)  # nothing is kept per message either
        self.broker.down = self.broker.stalled = False
        for i, n in enumerate(self.broker.check(device)):
            self.totals[i] += n
        self.broker.tracer = self.broker.stats = None  # a device of another mode has another size


def overwrite(n):
    """Use the C stack, where a collection might find addresses of what is long gone."""
    return overwrite(n - 1) + 1 if n else 0


def in_use():
    overwrite(40)
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def least_in_use(life):
    """The least heap in use of some looks, each after a short boot."""
    least = 1 << 30
    for _ in range(LOOKS):
        life.boot(BOOT)
        least = min(least, in_use())
    return least


def main(readings):
    life = Life()
    for _ in range(WARM):
        life.boot(BOOT)
    begun = least_in_use(life)
    done = BOOT * (WARM + LOOKS)
    while done < readings:
        n = min(readings - done, 4000 + life.draw.below(8000))
        life.boot(n)
        done += n
    ended = least_in_use(life)
    names = ("assigned", "acked", "failed", "lost", "pending", "at_most_once")
    totals = {name: life.totals[i] for i, name in enumerate(names)}
    totals.update(
        {
            "boots": life.boots,
            "wraps": life.wraps,
            "outages": life.outages,
            "begun": begun,
            "ended": ended,
            "ms": life.ms,
        }
    )
    print(json.dumps(totals))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 101500)
