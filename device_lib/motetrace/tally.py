"""What became of this device's messages since boot, counted in fixed memory."""

from motetrace import _port
from motetrace.in_flight import InFlight
from motetrace.ranges import Ranges


class Tally:
    """Told of every publish by `counted`, or by the application itself; nothing here allocates.

    Attributes:
        failed: Ranges of seqs whose publish raised, or was refused by the broker with a reason code.
        acked, lost: publishes at QoS 1 whose PUBACK came, and those given up waiting for.
        rtt_ms: the smallest time to a PUBACK, -1: none yet.
        count: publishes since somebody set it to 0.
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
        """What umqtt.simple2 tells its status callback: 1 acked, 0 timeout, from 128 on the broker's refusal."""
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
