"""What a device keeps and says about itself costs no heap per message: at every seq, on success and on failure."""

from clock import Clock
from heap import everywhere, spent
from interpreter import at_seq

from motetrace import Tracer
from motetrace.messages import Counted, Stats
from motetrace.sampling import Sampling

INTERPRETERS = ("micropython64", "micropython32")
EDGES = (0x100, 0x10000, 0x1000000, 0x40000000, 0x80000000, 0xFFFFFFF0)


class Client:
    """Numbers every message, and gives packet ids; with `error`, raises it."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.error = None
        self.pid = 0

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        self.tracer.next()
        if self.error:
            raise self.error
        self.pid = self.pid % 65535 + 1
        return self.pid if qos else None


def made(waits=False):
    clock = Clock(29, (1 << 29) - 100)
    t = Tracer(clock=clock)
    s = Stats(t, clock=clock)
    inner = Client(t)
    return clock, t, s, inner, Counted(inner, s, waits)


def test_a_counted_publish_takes_nothing_at_any_counter_value():
    for waits in (False, True):
        clock, t, s, inner, client = made(waits)

        def once():
            client.publish(b"t", b"m", False, 1)
            s.status(inner.pid, 1)

        everywhere(t, once)

        def without_ack():
            client.publish(b"t", b"m", True, 1)

        everywhere(t, without_ack)

        def at_most_once():
            client.publish(b"t", b"m")

        everywhere(t, at_most_once)


def test_a_failure_is_noted_without_heap_at_any_counter_value():
    clock, t, s, inner, client = made()
    for edge in EDGES:
        one = edge.to_bytes(4, "big")
        two = (edge + 1).to_bytes(4, "big")

        def step():
            s.failed.add(one)
            s.failed.add(two)
            s.failed.take_back(two)

        assert spent(step) == 0, hex(edge)
        at_seq(t, edge)
        assert spent(s.raised) == 0
    for seq in range(1000, 1040, 2):
        s.failed.add(seq.to_bytes(4, "big"))
    at_seq(t, 5)
    assert s.failed.n == 8 and spent(s.raised) == 0 and s.failed.more > 2


def test_an_exception_costs_what_it_costs_without_us():
    clock, t, s, inner, client = made()
    inner.error = OSError(104)

    def counted():
        try:
            client.publish(b"t", b"m", False, 1)
        except OSError:
            pass

    def plain():
        try:
            inner.publish(b"t", b"m", False, 1)
        except OSError:
            pass

    # The traceback of an exception takes heap for each frame that it passes; nothing is kept of it.
    assert spent(counted) - spent(plain) <= 200


def test_answers_of_every_kind_take_nothing():
    clock, t, s, inner, client = made()
    for pid in range(1, 40):
        client.publish(b"t", b"m", False, 1)
    for status in (0, 1, 2, 0x97):
        pid = 38

        def step():
            s.status(pid, status)

        step()
        assert spent(step) == 0
    assert spent(s.session_lost) == 0
    for _ in range(200):  # more than there are places
        assert spent(lambda: client.publish(b"t", b"m", False, 1)) == 0


def test_asking_whether_it_is_time_takes_nothing_before_and_after_a_wrap():
    clock, t, s, inner, client = made()
    often = Stats(t, 2, 100, clock=clock)
    sampling = Sampling(t, clock)
    sampling.desired(b'{"mode":"off","for_s":600}')

    def step():
        s.due()
        often.due()
        sampling.poll()

    for _ in range(5):
        assert spent(step) == 0
        clock.now += 33
    clock.now += 700000
    assert spent(sampling.poll) == 0 and sampling.result == "expired"


def test_a_stats_message_takes_the_view_it_hands_out_and_nothing_else():
    clock, t, s, inner, client = made()
    some = bytearray(300)
    view = spent(lambda: memoryview(some)[:200])
    for edge in EDGES:
        at_seq(t, edge)
        s.raised()
        at_seq(t, edge + 7)
        assert spent(s.build) == view


def test_a_report_takes_the_view_it_hands_out_and_its_reason_as_bytes():
    clock, t, s, inner, client = made()
    some = bytearray(300)
    sampling = Sampling(t, clock)
    assert spent(sampling.reported) <= spent(lambda: memoryview(some)[:200]) + spent(lambda: "applied".encode())
