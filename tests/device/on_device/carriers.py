"""Contexts in the user's own buffer, and the bytes that Member and Trailer put into a payload."""

import vectors
from clock import Clock

from motetrace import Tracer
from motetrace.incoming import Incoming
from motetrace.payload import Member, Trailer, pack_binary_into, pack_text_into

VECTORS = vectors.load("trailer.json")
MODES = ("traceparent", "seqref")


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


class Fixed:
    """A tracer that gives one context for ever."""

    def __init__(self, context):
        self.mode = "traceparent" if len(context) == 55 else "seqref"
        self.tracestate = None
        self.context = context
        self.calls = 0

    def next(self):
        self.calls += 1
        return self.context


class Clumsy(Fixed):
    """One whose next() fails as if memory were full."""

    def next(self):
        raise MemoryError


def test_every_vector_of_a_trailer_is_what_the_device_writes():
    written = 0
    for case in VECTORS["cases"]:
        if "reason" in case or not case["context"] or "dropped" in case["name"] or not case["stripped"]:
            continue
        for kind in (bytes, bytearray, memoryview):
            t = Trailer(Fixed(kind(case["context"].encode())))
            assert t.copy(kind(unhex(case["stripped"]))) == unhex(case["payload"]), case["name"]
            assert t.left_alone == 0
        written += 1
    assert written >= 8


def test_the_check_is_the_one_of_the_vectors():
    table = Trailer(Fixed(b""))._table
    for case in VECTORS["check"]:
        c = 0
        for b in unhex(case["over"]):
            c = table[c ^ b]
        assert c == int(case["check"], 16)


def test_a_context_goes_into_the_users_buffer_at_any_offset_and_touches_nothing_else():
    for mode in MODES:
        clock = Clock()
        t = Tracer(mode, clock=clock)
        for age in (None, 500):
            if age:
                t.mark()
                clock.now += age
            context = t.next()
            text = bytes(context)
            digits = text.replace(b"-", b"")
            binary = unhex(digits[:20].decode())
            if mode == "traceparent":
                binary = unhex("0000" + digits[2:34].decode() + "01" + digits[34:50].decode() + "02" + "03")
            for pack, expected in ((pack_text_into, text), (pack_binary_into, binary)):
                for at in (0, 1, 7):
                    buf = bytearray(b"\xee" * 80)
                    end = pack(buf, at, context)
                    assert end == at + len(expected), (mode, pack, end)
                    assert buf == b"\xee" * at + expected + b"\xee" * (80 - end)


def test_a_buffer_that_is_too_small_is_left_as_it_is():
    for mode, sizes in (("traceparent", (55, 29)), ("seqref", (22, 10))):
        context = Tracer(mode).next()
        for pack, size in zip((pack_text_into, pack_binary_into), sizes):
            exact = bytearray(size + 3)
            assert pack(exact, 3, context) == size + 3
            for room in (0, 3, size + 2):
                buf = bytearray(room)
                assert pack(buf, 3, context) == 3
                assert buf == bytearray(room)


def test_the_answer_to_a_command_goes_into_a_buffer_too():
    t = Tracer()
    command = Incoming(t)
    assert command.read(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    buf = bytearray(29)
    assert pack_binary_into(buf, 0, command.next()) == 29
    assert bytes(buf[2:18]) == unhex("4bf92f3577b34da6a3ce929d0e0e4736")
    assert bytes(buf[23:27]) == bytes((0, 0, 0, 1))
    assert buf[28] == 1


def test_a_member_stands_first_and_every_other_byte_stays():
    payloads = (
        ('{"t":21.5}', "{", '"t":21.5}'),
        ("{}", "{", "}"),
        ("{ \r\n\t}", "{", " \r\n\t}"),
        (' \n{ "t" : [1, {}] }\t ', " \n{", ' "t" : [1, {}] }\t '),
        ('{"Ort":"K\u00f6ln \u2603 \U0001f600"}', "{", '"Ort":"K\u00f6ln \u2603 \U0001f600"}'),
    )
    for mode in MODES:
        for text, head, tail in payloads:
            for kind in (str, bytes, bytearray, memoryview):
                clock = Clock()
                t = Tracer(mode, clock=clock)
                carrier = Member(t)
                for age in (None, 500, None):
                    if age:
                        t.mark()
                        clock.now += age
                    made = carrier.copy(text if kind is str else kind(text.encode()))
                    context = bytes(t._long if mode == "seqref" and age else t._short).decode()
                    expected = head + '"%s":"%s"' % (mode, context)
                    if age and mode == "traceparent":
                        expected += ',"tracestate":"mt=a:00001f4"'
                    expected += "" if tail.strip() == "}" else ","
                    assert made == (expected + tail).encode(), (made, expected)
                    assert type(made) is bytes
                assert carrier.left_alone == 0
                assert t.seq() == 3


def test_what_is_no_json_object_is_left_alone_and_counted_and_takes_no_seq():
    t = Tracer()
    carrier = Member(t)
    alone = ("", " ", "{", "}", "}{", "[]", "21.5", "null", '"{}"', "[{}]", '{"a":1}x', "\u2603", "\n{\n", "{} {}x")
    count = 0
    for text in alone:
        for kind in (str, bytes, bytearray, memoryview):
            made = carrier.copy(text if kind is str else kind(text.encode()))
            assert made == text.encode() and type(made) is bytes, text
            count += 1
    assert carrier.left_alone == count
    assert t.seq() == 0
    t = Tracer()
    carrier = Trailer(t)
    assert carrier.copy(b"") == b"" and carrier.copy("") == b""
    assert carrier.left_alone == 2 and t.seq() == 0


def test_what_is_no_payload_at_all_is_handed_on_for_the_client_to_judge():
    for carrier in (Member(Tracer()), Trailer(Tracer())):
        for odd in (None, 21.5, 7, True, carrier):
            assert carrier.copy(odd) is odd
        assert carrier.left_alone == 5
        assert carrier.tracer.seq() == 0


def test_a_message_published_again_keeps_its_seq_and_the_next_one_gets_its_own():
    for make, payload in ((Member, b'{"t":1}'), (Trailer, b"\x01\x02")):
        for mode in MODES:
            t = Tracer(mode)
            carrier = make(t)
            first = carrier.copy(payload)
            carrier.again = True
            t.next()  # another user of the same tracer
            assert carrier.copy(payload) == first
            assert carrier.copy(payload) != first
            assert t.seq() == 3


def test_again_before_the_first_message_is_not_again():
    t = Tracer()
    carrier = Member(t)
    carrier.again = True
    made = carrier.copy(b'{"t":1}')
    assert bytes(t._short) in made
    assert t.seq() == 1


def test_again_counts_for_one_publish_even_when_that_is_left_alone():
    carrier = Member(Tracer())
    first = carrier.copy(b'{"t":1}')
    carrier.again = True
    carrier.copy(b"text")
    assert carrier.copy(b'{"t":1}') != first


def test_a_copy_that_fails_lets_the_payload_through_and_its_seq_goes_with_the_next():
    t = Tracer()
    carrier = Member(t)

    class Full:
        def seek(self, n):
            raise MemoryError

    kept = carrier._io
    carrier._io = Full()
    assert carrier.copy(b'{"t":1}') == b'{"t":1}'
    assert carrier.left_alone == 1
    carrier._io = kept
    assert b"00000001-03" in carrier.copy(b'{"t":2}')
    assert t.seq() == 1


def test_a_tracer_that_fails_lets_the_payload_through():
    carrier = Member(Clumsy(b"0" * 55))
    assert carrier.copy('{"t":1}') == b'{"t":1}'
    assert carrier.left_alone == 1 and not carrier.again


def test_without_a_bytesio_that_writes_parts_the_copy_is_the_same():
    context = Tracer().next()
    for make, payload in ((Member, b' {"t":1}'), (Trailer, b"\x01\x02")):
        for kind in (bytes, bytearray, memoryview):
            a = make(Fixed(context))
            b = make(Fixed(context))
            b._io = None
            assert a.copy(kind(payload)) == b.copy(kind(payload))


def test_payloads_of_changing_length_do_not_leak_into_one_another():
    carrier = Trailer(Fixed(b"3f2a9c01d4-0000002a-03"))
    end = carrier.copy(b"x")[1:]
    for n in (1000, 1, 300, 2, 2000, 999):
        payload = bytes((n & 255,)) * n
        assert carrier.copy(payload) == payload + end


def test_any_bytes_at_all_come_through_with_or_without_a_context():
    t = Tracer("seqref")
    member = Member(t)
    trailer = Trailer(t)
    state = 1
    kinds = (bytes, bytearray, memoryview)
    for n in range(600):
        payload = bytearray(n % 13)
        for i in range(len(payload)):
            state = (state * 1103 + 12345) & 0xFFFFF
            payload[i] = b'{} \t\r\n"x:,\x00\xff\xf5M'[(state >> 7) % 14]
        payload = bytes(payload)
        kind = kinds[n % 3]
        for carrier in (member, trailer):
            before = carrier.left_alone
            made = carrier.copy(kind(payload))
            if carrier.left_alone > before:
                assert made == payload
            else:
                at = carrier.at
                assert made[:at] == payload[:at] and made[at + carrier.size :] == payload[at:]
                assert made[at : at + carrier.size] == carrier.buf[: carrier.size]
    assert member.left_alone > 400 and t.seq() > 540
