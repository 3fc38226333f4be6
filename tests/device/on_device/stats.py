"""The stats message: every seq that failed is in it or counted, and the counts add up."""

import json
from struct import pack

from clock import Clock
from interpreter import at_seq

from motetrace import Tracer
from motetrace.messages import Counted, InFlight, JsonBuffer, Ranges, Stats


def text(ranges):
    j = JsonBuffer(400)
    j.n, j.full = 0, False
    ranges.write(j)
    assert not j.full
    return json.loads(bytes(j.view()).decode())


def with_failed(*seqs, places=8):
    r = Ranges(places)
    for seq in seqs:
        r.add(pack(">I", seq))
    return r


EDGES = [1, 0xFF, 0x100, 0xFFFF, 0x10000, 0x1FFFF, 0xFFFFFF, 0x1000000, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000]


def test_neighbours_are_one_range_at_every_carry():
    for edge in EDGES:
        assert text(with_failed(edge, edge + 1, edge + 2)) == [[edge, edge + 2]]
        assert text(with_failed(edge, edge + 2)) == [[edge, edge], [edge + 2, edge + 2]]
        assert text(with_failed(edge, edge + 0x10001)) == [[edge, edge], [edge + 0x10001, edge + 0x10001]]
        assert text(with_failed(edge + 0x10000, edge)) == [[edge + 0x10000, edge + 0x10000], [edge, edge]]
    assert text(with_failed(0xFFFFFFFE, 0xFFFFFFFF)) == [[0xFFFFFFFE, 0xFFFFFFFF]]


def test_a_seq_that_fails_again_counts_once():
    r = with_failed(5, 6, 7, 6, 5, 7, 9, 6)
    assert text(r) == [[5, 7], [9, 9]] and r.more == 0


def test_beyond_eight_ranges_the_rest_is_counted():
    r = with_failed(*range(10, 30, 2))
    assert text(r) == [[n, n] for n in range(10, 26, 2)] and r.more == 2
    r.add(pack(">I", 25))  # still goes on the last range
    assert text(r)[-1] == [24, 25] and r.more == 2


def test_a_retry_that_went_through_takes_its_seq_back():
    for edge in EDGES:
        r = with_failed(edge, edge + 1)
        r.take_back(pack(">I", edge))  # not the last: stays, the host has seen it anyway
        assert text(r) == [[edge, edge + 1]]
        r.take_back(pack(">I", edge + 1))
        assert text(r) == [[edge, edge]]
        r.take_back(pack(">I", edge))
        r.take_back(pack(">I", edge))
        assert text(r) == []


def test_what_was_told_can_be_forgotten_and_what_came_since_stays():
    r = with_failed(1, 3, 4, places=3)
    r.forget()  # nothing was told yet
    assert text(r) == [[1, 1], [3, 4]]
    r.add(pack(">I", 9))
    r.add(pack(">I", 20))
    assert r.more == 1
    r.forget()
    assert text(r) == [[9, 9]] and r.more == 1
    r.add(pack(">I", 10))  # changes what was told: it is told again
    r.forget()
    assert text(r) == [[9, 10]] and r.more == 0
    r.forget()
    assert text(r) == []


def draw(state):
    return (state * 1103 + 12345) % 65521


def test_ranges_hold_what_a_set_of_numbers_holds():
    x = 7
    for _ in range(100):
        r = Ranges(50)
        seen = set()
        base = 0xFFF0
        for _ in range(60):
            x = draw(x)
            seq = base + x % 40
            r.add(pack(">I", seq))
            seen.add(seq)
        held = set()
        for first, last in text(r):
            assert first <= last
            held.update(range(first, last + 1))
        assert held == seen and r.more == 0


class Broken(Exception):
    pass


class Client:
    """A client of any kind: publish() numbers, raises, or answers as it is told to."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.fails = None
        self.numbers = True
        self.pid = 0
        self.seen = []

    def publish(self, topic, msg, retain=False, qos=0, *dup):
        if self.numbers and not (dup and dup[0]):
            self.tracer.next()
        self.seen.append((topic, msg, retain, qos) + dup)
        if self.fails:
            raise self.fails
        self.pid += 1
        return self.pid if qos else None

    def other(self):
        return "the client's own"


def made(waits=False, bits=30, **kw):
    t = Tracer()
    c = Clock(bits)
    s = Stats(t, clock=c, **kw)
    inner = Client(t)
    return t, c, s, inner, Counted(inner, s, waits)


def said(stats):
    return json.loads(bytes(stats.build()).decode())


def test_a_stats_message_says_what_became_of_every_seq():
    t, c, s, inner, client = made()
    c.now = 1000
    assert client.publish(b"t", b"m", False, 1) == 1
    client.publish(b"t", b"m")
    inner.fails = Broken()
    for _ in range(2):
        try:
            client.publish(b"t", b"m", qos=1)
        except Broken:
            pass
    c.now = 1012
    s.status(1, 1)
    message = said(s)
    message.pop("free_bytes", None)
    assert message == {
        "v": 1,
        "nonce": "".join("%02x" % b for b in t.block[:5]),
        "seq": 4,
        "failed": [[3, 4]],
        "more": 0,
        "acked": 1,
        "lost": 0,
        "pending": 0,
        "rtt_ms": 12,
        "ticks_ms": 1012,
    }


def test_the_clients_own_exception_goes_on_unchanged():
    for error in (Broken(7), OSError(104), KeyboardInterrupt(), MemoryError("no")):
        t, _, s, inner, client = made()
        inner.fails = error
        try:
            client.publish(b"t", b"m")
        except BaseException as e:
            assert e is error
        else:
            raise AssertionError("it was swallowed")
        assert said(s)["failed"] == [[1, 1]]


def test_arguments_reach_the_client_as_they_were_and_dup_only_when_it_is_given():
    _, _, _, inner, client = made()
    client.publish(b"t", b"m")
    client.publish("t", "m", True, 1)
    client.publish("t", "m", retain=True, qos=1, dup=True)
    assert inner.seen == [(b"t", b"m", False, 0), ("t", "m", True, 1), ("t", "m", True, 1, True)]
    assert client.other() == "the client's own"
    assert client._msg is None and client._topic is None  # a payload is not kept alive


def test_a_publish_that_takes_no_seq_is_nobodys_failure():
    t, _, s, inner, client = made()
    client.publish(b"t", b"m", qos=1)
    inner.numbers = False
    client.publish(b"t", b"m", qos=1)
    inner.fails = Broken()
    try:
        client.publish(b"t", b"m")
    except Broken:
        pass
    assert client.unnumbered == 1
    assert said(s)["failed"] == [] and said(s)["pending"] == 1
    s.status(2, 1)
    assert said(s)["acked"] == 0


def test_a_retry_replaces_its_first_attempt():
    t, c, s, inner, client = made()
    inner.fails = Broken()
    try:
        client.publish(b"t", b"m", qos=1)
    except Broken:
        pass
    assert said(s)["failed"] == [[1, 1]]
    inner.fails = None
    assert client.publish(b"t", b"m", qos=1, dup=True) == 1
    assert client.publish(b"t", b"m", qos=1, dup=True) == 2
    assert said(s)["failed"] == [] and said(s)["pending"] == 1
    s.status(1, 1)  # the packet id of the first attempt is void
    assert said(s)["acked"] == 0
    s.status(2, 1)
    assert said(s)["acked"] == 1 and said(s)["pending"] == 0


def test_timeouts_refusals_and_foreign_packet_ids_are_told_apart():
    t, c, s, inner, client = made()
    for _ in range(3):
        client.publish(b"t", b"m", qos=1)
    s.status(77, 1)  # a SUBACK
    s.status(0, 1)
    s.status(1, 0)
    s.status(2, 0x97)
    s.status(2, 1)  # came after all
    message = said(s)
    assert message["acked"] == 0 and message["lost"] == 1 and message["failed"] == [[2, 2]] and message["pending"] == 1
    s.session_lost()
    assert said(s)["lost"] == 2 and said(s)["pending"] == 0
    s.status(3, 1)
    assert said(s)["acked"] == 0


def test_more_in_flight_than_places_are_counted_all_the_same():
    t, c, s, inner, client = made()
    for _ in range(40):
        client.publish(b"t", b"m", qos=1)
    assert said(s)["pending"] == 40 and s.in_flight.beyond == 24
    for pid in range(1, 41):
        s.status(pid, 1)
    assert said(s)["pending"] == 0 and said(s)["acked"] == 40


def test_a_client_that_waits_for_the_puback_is_acked_when_it_returns():
    t, c, s, inner, client = made(True)

    class Slow(Client):
        def publish(self, *args):
            c.now += 35 if self.pid else 80
            return Client.publish(self, *args)

    client.client = Slow(t)
    client.publish(b"t", b"m", False, 1)
    client.publish(b"t", b"m", False, 1)
    client.publish(b"t", b"m")
    assert said(s)["acked"] == 2 and said(s)["rtt_ms"] == 35 and said(s)["pending"] == 0


def test_round_trips_are_right_across_every_wrap():
    for bits in (29, 30, 62):
        for before in (0, 1, 11, 12, 13):
            t, c, s, inner, client = made(bits=bits)
            c.now = (1 << bits) - before
            client.publish(b"t", b"m", qos=1)
            c.now += 12
            s.status(1, 1)
            assert said(s)["rtt_ms"] == 12
            c.now += 100
            client.publish(b"t", b"m", qos=1)
            c.now += (1 << bits) - 5  # so long that it seems negative
            s.status(2, 1)
            assert said(s)["rtt_ms"] == 12 and said(s)["acked"] == 2


def test_it_is_due_after_n_publishes_or_t_seconds_across_every_wrap():
    for bits in (29, 30, 62):
        for start in (0, (1 << bits) - 1, (1 << bits) - 59999, (1 << bits) - 60000):
            t = Tracer()
            c = Clock(bits, start)
            s = Stats(t, 3, 60, clock=c)
            assert not s.due()
            c.now += 59999
            assert not s.due()
            c.now += 1
            assert s.due()
            s.build()
            assert not s.due()
            c.now += (1 << bits) - 1000  # not asked for nearly a whole period
            assert s.due()
            s.build()
            for n in range(3):
                assert not s.due()
                s.published()
            assert s.due()
    t = Tracer()
    c = Clock(30)
    never = Stats(t, 0, 0, clock=c)
    c.now += 1 << 29
    for _ in range(1000):
        never.published()
    assert not never.due()


def test_a_period_that_cannot_be_measured_is_refused():
    for seconds in (-1, 100001):
        try:
            Stats(Tracer(), 1, seconds)
        except ValueError as e:
            assert "0..100000" in str(e)
        else:
            raise AssertionError(seconds)
    Stats(Tracer(), 1, 100000)


class Elsewhere:
    left_alone = 3
    most = (1 << 62) - 1


def test_counters_kept_elsewhere_travel_along():
    t, c, s, inner, client = made(counters=((b"left_alone", Elsewhere, "left_alone"),))
    assert said(s)["left_alone"] == 3


def test_the_longest_message_fits_its_buffer():
    t, c, s, inner, client = made(bits=62, counters=((b"a_counter_with_a_long_name", Elsewhere, "most"),))
    c.now = (1 << 62) - 1
    for n in range(8):
        for seq in (0xFFFFFF00 + 3 * n, 0xFFFFFF01 + 3 * n):
            s.failed.add(pack(">I", seq))
    s.failed.more = s.acked = s.lost = s.in_flight.pending = s.rtt_ms = (1 << 62) - 1
    at_seq(t, 0xFFFFFFFF)
    message = said(s)
    assert not s._json.full and len(message["failed"]) == 8 and message["seq"] == 0xFFFFFFFF
    assert message["ticks_ms"] == (1 << 62) - 1 == message["a_counter_with_a_long_name"]


def test_every_seq_is_written_as_the_number_it_is():
    j = JsonBuffer(12)
    for seq in EDGES + [0, 9, 10, 999, 1000, 1001, 65535999, 65536000, 0xFFFFFFFF, 4294967000, 4294000000, 10**9]:
        j.n = 0
        j.seq(pack(">I", seq), 0)
        assert bytes(j.view()) == str(seq).encode(), seq


def test_numbers_are_written_as_they_are_and_what_does_not_fit_is_said():
    j = JsonBuffer(20)
    j.full = False
    for n in (0, 1, 9, 10, 99, 100, -1, -10, 1073741823, (1 << 62) - 1):
        j.n = 0
        j.number(n)
        assert bytes(j.view()) == str(n).encode()
    assert not j.full
    j.raw(b"x" * 21)
    assert j.full and len(j.view()) == 20


def test_in_flight_counts_what_it_no_longer_remembers():
    f = InFlight(2, Clock())
    for pid in (1, 2, 3):
        f.add(pid, pack(">I", pid), 0)
    assert f.pending == 3 and f.beyond == 1
    assert f.take(9) == -2 and f.take(9) == -1
    assert f.take(3) >= 0 and f.take(2) >= 0 and f.pending == 0
