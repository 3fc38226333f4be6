"""Incoming against tests/vectors/traceparent.json, in place, and the answers that continue a trace."""

from binascii import hexlify

import vectors
from interpreter import at_seq

from motetrace import Tracer
from motetrace.incoming import Incoming

CASES = vectors.load("traceparent.json")["cases"]
VALID = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def text_of(case):
    return case["input"].encode()


def agrees(incoming, case, *where):
    ok = incoming.read(*where)
    assert ok is case["valid"], (case, incoming.fault)
    if len(case["input"]) == len(text_of(case)):  # beyond ASCII a device counts bytes and the host characters
        assert incoming.fault == case.get("reason"), (case, incoming.fault)
    if ok:
        answer = bytes(incoming.next())
        assert answer[:36].decode() == "00-" + case["trace_id"] + "-", (case, answer)
        assert answer[52:] == b"-0%d" % case["flags"], (case, answer)
        assert answer[36:52].decode() != case["parent_id"]


def test_every_vector_is_read_as_the_standard_says():
    incoming = Incoming(Tracer())
    assert len(CASES) > 50
    for case in CASES:
        agrees(incoming, case, text_of(case))


def test_bytearray_and_memoryview_are_read_like_bytes():
    incoming = Incoming(Tracer())
    for case in CASES:
        agrees(incoming, case, bytearray(text_of(case)))
        agrees(incoming, case, memoryview(text_of(case)))


def test_a_part_of_a_bigger_buffer_is_read_without_looking_beyond_it():
    incoming = Incoming(Tracer())
    for case in CASES:
        text = text_of(case)
        for before, after in ((b"00-", b"-0"), (b'{"traceparent":"', b'"}'), (b" ", b" "), (b"f" * 60, b"f" * 60)):
            for kind in (bytes, bytearray, memoryview):
                agrees(incoming, case, kind(before + text + after), len(before), len(before) + len(text))
        agrees(incoming, case, b"x" * 7 + text, 7)


def test_what_was_read_before_leaves_no_trace_after_a_broken_one():
    t = Tracer()
    incoming = Incoming(t)
    assert incoming.read(VALID)
    assert not incoming.read(b"broken")
    fresh = bytes(incoming.next())
    assert fresh[3:13] != VALID[3:13] and len(fresh) == 55
    assert int(fresh[13:21].decode(), 16) == t.seq()


def test_an_answer_takes_a_seq_and_its_parent_id_is_nonce_and_seq():
    t = Tracer()
    incoming = Incoming(t)
    nonce = "".join("%02x" % b for b in t.block[:5])
    assert incoming.read(VALID)
    for seq in range(1, 400):
        answer = bytes(incoming.next()).decode()
        assert answer == "00-4bf92f3577b34da6a3ce929d0e0e4736-%s%08x-01" % (nonce[2:], seq)


def test_answers_follow_seq_through_its_wrap_to_the_new_nonce():
    t = Tracer("seqref")
    incoming = Incoming(t)
    assert incoming.read(VALID)
    at_seq(t, 0xFFFFFFFE)
    before = bytes(t.block[1:5])
    assert bytes(incoming.next()[44:52]) == b"ffffffff"
    answer = bytes(incoming.next())
    after = bytes(t.block[1:5])
    assert before != after
    assert answer[36:52].decode() == "".join("%02x" % b for b in after) + "00000001"


def test_only_sampled_and_random_of_the_flags_are_kept():
    incoming = Incoming(Tracer(threshold=65536))  # this device's own sampling decides nothing here
    for flags in range(256):
        assert incoming.read(VALID[:53] + b"%02x" % flags)
        assert bytes(incoming.next()[52:]) == b"-0%d" % (flags & 3)


def test_a_seqref_device_answers_in_full_and_begins_a_whole_trace_where_there_is_no_command():
    t = Tracer("seqref")
    incoming = Incoming(t)
    assert incoming.read(VALID) and bytes(incoming.next()[3:35]) == bytes(VALID[3:35])
    seen = set()
    for src in (b"", None, b"nonsense"):
        assert not incoming.read(src)
        answer = bytes(incoming.next())
        again = Incoming(t)
        assert len(answer) == 55 and again.read(answer), again.fault
        assert answer[3:13] == hexlify(t.block[:5]) and answer[13:21] == answer[44:52] == b"%08x" % t.seq()
        assert answer[36:44] == hexlify(t.block[1:5]) and answer[53:] == b"03"
        seen.add(answer[21:35])
    assert len(seen) == 3 and t.seq() == 4


def test_no_command_at_all_is_no_command():
    incoming = Incoming(Tracer())
    assert not incoming.read(None) and incoming.fault == "traceparent_length"


def test_reading_takes_no_seq():
    t = Tracer()
    incoming = Incoming(t)
    for case in CASES:
        incoming.read(text_of(case))
    assert t.seq() == 0


def test_white_space_is_spaces_and_tabs_only():
    incoming = Incoming(Tracer())
    for code in range(256):
        around = bytes((code,))
        assert incoming.read(around + VALID) == (code in (32, 9)), code
        assert incoming.read(VALID + around) == (code in (32, 9)), code
