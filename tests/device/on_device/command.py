"""A command whose context leads its JSON payload."""

from motetrace import Tracer
from motetrace.incoming import Incoming, read_member

VALID = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_leading_traceparent_is_read_with_any_white_space_and_from_any_buffer():
    incoming = Incoming(Tracer())
    for text in (
        b'{"traceparent":"%s","on":true}',
        b'{"traceparent":"%s"}',
        b' \r\n\t{ "traceparent" : "%s" , "on":1}',
        b'{"traceparent":" %s\t"}',
    ):
        for kind in (bytes, bytearray, memoryview):
            assert read_member(incoming, kind(text % VALID)), text
            assert bytes(incoming.next()[3:35]) == VALID[3:35]


def test_anything_else_is_no_command_and_never_raises():
    incoming = Incoming(Tracer())
    whole = b'{"traceparent":"%s"}' % VALID
    for end in range(len(whole) - 1):
        assert not read_member(incoming, whole[:end]), end
        assert incoming.fault
    for end in (b"x", b"-aa", b" 1"):  # behind a traceparent of version 00 nothing may stand
        assert not read_member(incoming, b'{"traceparent":"%s%s"}' % (VALID, end)), end
        assert incoming.fault
    assert read_member(incoming, b'{"traceparent":"01%s-aa"}' % VALID[2:])  # a later version may have more
    for text in (b"[1]", b'{"a":1,"traceparent":"%s"}' % VALID, b'{"traceparent":5}', b'{"Traceparent":"%s"}' % VALID):
        assert not read_member(incoming, text), text
    for at in range(len(whole)):
        for code in (0, 32, 34, 92, 255):
            read_member(incoming, whole[:at] + bytes((code,)) + whole[at + 1 :])


def test_reading_takes_no_heap():
    try:
        from micropython import mem_total
    except ImportError:
        return
    incoming = Incoming(Tracer())
    whole = b'{"traceparent":"%s"}' % VALID
    other = b"[1]"
    read_member(incoming, whole)
    before = mem_total()
    read_member(incoming, whole)
    read_member(incoming, other)
    assert mem_total() == before
