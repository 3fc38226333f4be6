"""The heap that carriers take per message: none to fill a buffer, and for a copy the copy alone."""

from sys import maxsize

from clock import Clock
from heap import spent

from motetrace import Tracer
from motetrace.payload import Member, Trailer, pack_binary_into, pack_text_into

INTERPRETERS = ("micropython64", "micropython32")


def test_a_context_in_the_users_buffer_takes_no_heap():
    for mode in ("traceparent", "seqref"):
        t = Tracer(mode)
        buf = bytearray(60)
        assert spent(lambda: pack_text_into(buf, 3, t.next())) == 0
        assert spent(lambda: pack_binary_into(buf, 3, t.next())) == 0


def test_filling_in_a_member_or_a_trailer_takes_no_heap_with_and_without_age():
    for mode in ("traceparent", "seqref"):
        clock = Clock(28)  # of small ints on 32 bits too
        t = Tracer(mode, clock=clock)
        for carrier in (Member(t), Trailer(t)):
            payload = b'{"t":21.5}'
            assert spent(lambda: carrier.insert(payload)) == 0

            def aged():
                t.mark()
                carrier.insert(payload)

            assert spent(aged) == 0
            text = b"21.5"
            assert spent(lambda: carrier.insert(text)) == 0


def test_a_copy_takes_the_bytes_of_the_copy_and_one_object():
    word = 8 if maxsize > 1 << 40 else 4
    for mode in ("traceparent", "seqref"):
        t = Tracer(mode)
        for make in (Member, Trailer):
            carrier = make(t)
            payload = b'{"t":21.5,"rh":40}'
            made = carrier.copy(payload)
            assert spent(lambda: carrier.copy(payload)) == len(made) + 1 + 4 * word


def test_a_payload_that_is_left_alone_is_not_copied():
    carrier = Member(Tracer())
    assert spent(lambda: carrier.copy(b"21.5")) == 0
