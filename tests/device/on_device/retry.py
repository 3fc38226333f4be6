"""What a retry, dup=True, sends: the context of the message it repeats, or a new one; never that of another message."""

from clock import Clock
from packets import TOPIC, Five, written
from sockets import Client

from motetrace import Tracer
from motetrace.simple2 import JsonMember

INTERPRETERS = ("micropython64", "micropython32")


def test_dup_sends_the_same_context_again_also_with_an_age_and_when_the_tracer_went_on():
    for mode in ("traceparent", "seqref"):
        for carrier in ("five", "json"):
            clock = Clock()
            t = Tracer(mode, clock=clock)
            inner = Five(t) if carrier == "five" else Client()
            c = inner if carrier == "five" else JsonMember(inner, t)
            t.mark()
            clock.now += 77
            c.publish(TOPIC, b'{"t":1}')
            first = written(inner)
            c.publish(TOPIC, b'{"t":1}', dup=True)
            again = written(inner)
            assert again[0] == 0x38 and again[1:] == first[1:] and b"000004d" in again
            t.next()  # an answer to a command, say, or another carrier of the same tracer
            c.publish(TOPIC, b'{"t":1}', dup=True)
            assert written(inner) == again and t.seq() == 2
            c.publish(TOPIC, b'{"t":1}')
            assert t.seq() == 3 and b"000004d" not in written(inner)


def test_dup_of_what_the_carrier_no_longer_has_takes_a_new_context_and_never_anothers():
    t = Tracer("seqref")
    inner = Client()
    c = JsonMember(inner, t)
    for n, (topic, payload) in enumerate(((b"a", b'{"t":1}'), (b"b", b'{"t":1}'), (b"b", b"{}"), (b"b", b'{"t":1}'))):
        c.publish(topic, payload, dup=n > 0)
        data = written(inner)
        assert b"-%08x-" % (n + 1) in data
        assert data.endswith(b',"t":1}' if payload != b"{}" else b'"}'), data


def test_dup_before_anything_was_sent_takes_a_first_context():
    t = Tracer()
    inner = Client()
    JsonMember(inner, t).publish(TOPIC, b"{}", dup=True)
    assert t.seq() == 1 and written(inner)[0] == 0x38
