"""One message that is sampled whatever the threshold says."""

from clock import Clock

from motetrace import Tracer


def flags(context):
    return bytes(context[53:55] if len(context) > 50 else context[20:22])


def test_a_forced_message_is_sampled_and_the_next_is_not():
    for mode in ("traceparent", "seqref"):
        t = Tracer(mode, 65536)
        for n in range(600):
            assert flags(t.next()) == b"02" and not t.sampled
            t.force()
            assert flags(t.next()) == b"03" and t.sampled
            assert flags(t.next()) == b"02" and not t.sampled
        assert t.threshold == 65536 and t.seq() == 1800


def test_a_forced_message_has_its_age_like_any_other():
    for mode in ("traceparent", "seqref"):
        for mark_first in (False, True):
            clock = Clock()
            t = Tracer(mode, 65536, clock=clock)
            if mark_first:
                t.mark()
            t.force()
            if not mark_first:
                t.mark()
            clock.now += 500
            c = t.next()
            assert flags(c) == b"03"
            assert bytes(c[-7:] if mode == "seqref" else t.tracestate[-7:]) == b"00001f4"
            assert flags(t.next()) == b"02" and t.tracestate is None


def test_forcing_twice_is_forcing_once_and_a_sampled_message_stays_sampled():
    t = Tracer("seqref", 65536)
    t.force()
    t.force()
    assert flags(t.next()) == b"03" and flags(t.next()) == b"02"
    t = Tracer()
    t.force()
    assert flags(t.next()) == b"03" and flags(t.next()) == b"03"


def test_a_threshold_set_meanwhile_holds_for_the_messages_after_the_forced_one():
    t = Tracer("traceparent", 0)
    t.force()
    t.threshold = 65536
    assert flags(t.next()) == b"03" and flags(t.next()) == b"02" and t.threshold == 65536
