"""What a Tracer promises about its contexts: form, counting, sampling, age."""

from clock import Clock
from interpreter import at_seq, with_aes

from motetrace import Tracer
from motetrace.tracer import put_hex

DIGITS = b"0123456789abcdef"
EDGES = (1 << 8, 1 << 16, 1 << 24, 1 << 30, 1 << 31, 1 << 32)


def field(context, at, n):
    text = bytes(context[at : at + n])
    assert len(text) == n and all(c in DIGITS for c in text), bytes(context)
    return int(text.decode(), 16)


def test_a_traceparent_has_the_form_of_the_standard():
    context = Tracer().next()
    assert len(context) == 55
    assert bytes(context[:3]) == b"00-" and context[35] == context[52] == 45
    assert field(context, 3, 32) and field(context, 36, 16)
    assert bytes(context[53:]) == b"03"


def test_a_seqref_has_22_characters():
    t = Tracer(mode="seqref")
    context = t.next()
    assert len(context) == 22
    assert field(context, 0, 10) == int.from_bytes(t.block[:5], "big")
    assert bytes(context[10:]) == b"-00000001-03"


def test_seq_stands_in_trace_id_and_parent_id_and_nonce_in_front():
    t = Tracer()
    nonce = int.from_bytes(t.block[:5], "big")
    prefix = None
    for seq in range(1, 600):
        context = t.next()
        assert field(context, 3, 10) == nonce
        assert field(context, 13, 8) == field(context, 44, 8) == seq == t.seq()
        assert prefix in (None, field(context, 36, 8))
        prefix = field(context, 36, 8)


def test_every_carry_of_seq_reaches_every_digit():
    for mode, places in (("traceparent", (13, 44)), ("seqref", (11,))):
        t = Tracer(mode)
        for edge in EDGES[:-1]:
            for behind in range(1, 4):
                at_seq(t, edge - behind)
                for seq in range(edge - behind + 1, edge + 300):
                    context = t.next()
                    for place in places:
                        assert field(context, place, 8) == seq, (mode, edge, bytes(context))


def test_after_the_last_seq_comes_a_new_boot_and_no_id_repeats():
    t = Tracer()
    at_seq(t, 0xFFFFFFFA)
    seen = set()
    boots = set()
    seqs = []
    for _ in range(12):
        context = bytes(t.next())
        seen.add(context[3:35])
        seen.add(context[36:52])
        boots.add((context[3:13], context[36:44]))
        seqs.append(t.seq())
    assert len(seen) == 24
    assert len(boots) == 2 and len({nonce for nonce, _ in boots}) == 2 and len({prefix for _, prefix in boots}) == 2
    assert seqs == [0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF, 1, 2, 3, 4, 5, 6, 7]


def test_the_wrap_of_a_seqref_takes_a_new_nonce_too():
    t = Tracer("seqref")
    at_seq(t, 0xFFFFFFFE)
    last = bytes(t.next())
    first = bytes(t.next())
    assert last[11:19] == b"ffffffff" and first[11:19] == b"00000001" and last[:10] != first[:10]


def test_no_id_repeats_over_several_wraps():
    t = Tracer()
    seen = set()
    for _ in range(20):
        at_seq(t, 0xFFFFFFFE)
        for _ in range(5):
            seen.add(bytes(t.next()[3:35]))
    assert len(seen) == 100


def test_the_random_part_differs_between_neighbours_and_uses_all_bits():
    t = Tracer()
    every = 0
    common = (1 << 56) - 1
    seen = set()
    for _ in range(2000):
        r = field(t.next(), 21, 14)
        seen.add(r)
        every |= r
        common &= r
    assert len(seen) == 2000 and every == (1 << 56) - 1 and common == 0


def test_the_same_buffer_comes_back_each_time():
    for mode in ("traceparent", "seqref"):
        t = Tracer(mode)
        first = t.next()
        kept = bytes(first)
        t.next()
        assert bytes(first) != kept  # what is handed out is renewed in place: whoever keeps it must copy
        assert t.next() is first


def test_a_message_is_sampled_exactly_when_its_16_top_random_bits_reach_the_threshold():
    for threshold in (1, 2, 255, 256, 257, 0x7FFF, 0x8000, 0xFF00, 0xFFFE, 0xFFFF):
        t = Tracer(threshold=threshold)
        for _ in range(400):
            context = t.next()
            kept = field(context, 21, 4) >= threshold
            assert t.sampled == kept
            assert bytes(context[53:]) == (b"03" if kept else b"02")


def test_a_threshold_equal_to_the_random_bits_keeps_and_one_more_does_not():
    t = with_aes()
    for _ in range(50):
        top = field(t.next(), 21, 4)
        before = t.seq() - 1
        for threshold, digit in ((top, 51), (top + 1, 50)):
            t.threshold = threshold
            at_seq(t, before)
            assert t.next()[54] == digit
        t.threshold = 0


def test_threshold_0_keeps_all_and_65536_none_in_both_modes():
    for mode, at in (("traceparent", 54), ("seqref", 21)):
        for threshold, digit in ((0, 51), (65536, 50)):
            t = Tracer(mode, threshold)
            for _ in range(300):
                assert t.next()[at] == digit
                assert t.sampled == (digit == 51)


def test_the_flag_follows_a_threshold_that_is_changed_while_running():
    for mode, at in (("traceparent", 54), ("seqref", 21)):
        t = Tracer(mode, 65536)
        t.next()
        t.threshold = 0
        for _ in range(5):
            assert t.next()[at] == 51
        t.threshold = 65536
        for _ in range(5):
            assert t.next()[at] == 50


def test_the_share_of_sampled_messages_is_one_minus_threshold_over_65536():
    # 4,000 messages and eight cases: a deviation of 6 sigma would be chance in one run of 60 million.
    for mode in ("traceparent", "seqref"):
        for threshold in (6554, 32768, 58982, 64881):
            p = 1 - threshold / 65536
            t = Tracer(mode, threshold)
            kept = 0
            for _ in range(4000):
                t.next()
                kept += t.sampled
            assert abs(kept - 4000 * p) <= 6 * (4000 * p * (1 - p)) ** 0.5, (mode, threshold, kept)


def aged(mode, clock, age):
    t = Tracer(mode, clock=clock)
    t.mark()
    clock.now += age
    context = bytes(t.next())
    if mode == "seqref":
        assert t.tracestate is None and len(context) == 30 and context[22] == 45
        return t, field(context, 23, 7)
    assert len(context) == 55 and bytes(t.tracestate[:5]) == b"mt=a:" and len(t.tracestate) == 12
    return t, field(t.tracestate, 5, 7)


def test_age_is_exact_at_every_place_of_every_tick_period():
    for mode in ("traceparent", "seqref"):
        for bits in (29, 30, 62):
            period = 1 << bits
            for start in (0, 1, period - 1, period // 2, period - 0x0FFFFFF0):
                for age in (0, 1, 15, 16, 500, 65535, 0x1234567, 0xFFFFFFE, 0xFFFFFFF):
                    if age < period // 2:
                        assert aged(mode, Clock(bits, start), age)[1] == age, (mode, bits, start, age)


def test_an_age_that_does_not_fit_or_seems_negative_saturates():
    for mode in ("traceparent", "seqref"):
        for bits, age in ((62, 0x10000000), (62, 1 << 40), (30, 0x10000000), (30, (1 << 29) + 5), (29, 1 << 28)):
            assert aged(mode, Clock(bits, 77), age)[1] == 0xFFFFFFF, (mode, bits, age)


def test_an_age_is_taken_back_at_the_next_message_without_a_mark():
    for mode, length in (("traceparent", 55), ("seqref", 22)):
        t, _ = aged(mode, Clock(), 500)
        for _ in range(3):
            assert len(t.next()) == length
            assert t.tracestate is None


def test_each_mark_counts_for_one_message_and_the_last_mark_counts():
    clock = Clock()
    t = Tracer("seqref", clock=clock)
    for age in (3, 70000, 5):
        t.mark()
        clock.now += 1000
        t.mark()
        clock.now += age
        context = t.next()
        assert len(context) == 30 and field(context, 23, 7) == age


def test_a_mark_leaves_everything_else_of_the_context_as_it_was():
    clock = Clock()
    for mode in ("traceparent", "seqref"):
        t = with_aes(mode, clock=clock)
        t.next()
        plain = bytes(t.next())
        at_seq(t, 1)
        t.mark()
        assert bytes(t.next())[: len(plain)] == plain


def test_the_clock_of_the_interpreter_is_used_when_none_is_given():
    t = Tracer("seqref")
    t.mark()
    assert field(t.next(), 23, 7) < 60000


def test_a_wrong_mode_or_threshold_is_refused_and_the_ranges_are_named():
    for arguments in (("traceparents",), ("",), ("Seqref",), ("seqref", -1), ("traceparent", 65537)):
        try:
            Tracer(*arguments)
        except ValueError as e:
            assert "seqref" in str(e) and "65536" in str(e)
        else:
            raise AssertionError(arguments)


def test_a_new_tracer_has_a_new_nonce_and_prefix_as_after_a_soft_reset():
    boots = set()
    for _ in range(200):
        t = Tracer()
        context = bytes(t.next())
        assert t.seq() == 1
        boots.add(context[3:13])
        boots.add(context[36:44])
    assert len(boots) == 400


def test_put_hex_writes_every_byte_as_its_two_digits():
    table = Tracer().table
    out = bytearray(515)
    put_hex(out, 1, bytes(range(256)), 0, 256, table)
    assert bytes(out[1:513]) == b"".join(b"%02x" % i for i in range(256))
    assert out[0] == out[513] == out[514] == 0
