"""Sampling from afar: what was asked for is applied for its time; what is wrong is counted and changes nothing."""

import json

from clock import Clock

from motetrace import Tracer
from motetrace.sampling import Countdown, Sampling, desired


def made(threshold=0, bits=30, now=0):
    clock = Clock(bits, now)
    t = Tracer(threshold=threshold, clock=clock)
    return t, clock, Sampling(t, clock)


def said(s):
    return json.loads(bytes(s.reported()).decode())


def test_a_wish_is_applied_and_answered():
    t, clock, s = made(1000)
    nonce = "".join("%02x" % b for b in t.block[:5])
    assert not s.poll()
    first = {"v": 1, "nonce": nonce, "mode": "inherit", "result": "boot", "threshold": 1000, "left_s": 0, "refused": 0}
    assert said(s) == first
    s.desired(b'{"mode":"on","rate":0.1,"for_s":600}')
    assert t.threshold == 58982 and s.poll() and s.poll()
    answer = {"mode": "on", "result": "applied", "threshold": 58982, "left_s": 600}
    first.update(answer)
    assert said(s) == first
    s.new = False
    assert not s.poll()
    s.desired(b'{"mode":"off"}')
    assert t.threshold == 65536 and said(s)["mode"] == "off" and said(s)["left_s"] == 0 and s.poll()
    s.desired(b'{"mode":"on"}')
    assert t.threshold == 0
    s.desired(b'{"mode":"inherit","rate":0.5,"for_s":9}')
    assert t.threshold == 1000 and said(s)["mode"] == "inherit" and said(s)["left_s"] == 0


def test_every_kind_of_bytes_and_text_is_read():
    wish = b' { "mode" : "on" , "rate" : 0.5 } \r\n'
    for kind in (bytes, bytearray, memoryview, lambda b: b.decode()):
        t, _, s = made()
        s.desired(kind(wish))
        assert t.threshold == 32768, kind


RATES = [
    (b"0", 65536),
    (b"1", 0),
    (b"1.0", 0),
    (b"1.00000000000000000000", 0),
    (b"0.0", 65536),
    (b"-0", 65536),
    (b"0.5", 32768),
    (b"5e-1", 32768),
    (b"50E-2", 32768),
    (b"0.05e1", 32768),
    (b"0.005E+2", 32768),
    (b"0.1", 58982),
    (b"0.10000000000000000555", 58982),
    (b"0.01", 64881),
    (b"0.001", 65470),
    (b"0.25", 49152),
    (b"0.333333333333", 43691),
    (b"0.666666666666", 21845),
    (b"0.99999999", 0),
    (b"0.0000152587890625", 65535),
    (b"1.52587890625e-05", 65535),
    (b"1e-9", 65536),
    (b"1e-999", 65536),
    (b"0e999", 65536),
    (b'"10%"', 58982),
    (b'"100%"', 0),
    (b'"0%"', 65536),
    (b'"0.5%"', 65208),
    (b'"33.333333%"', 43691),
    (b'"0.1"', 58982),
    (b"null", 0),
]


def test_a_rate_becomes_the_threshold_of_the_contract_without_floats():
    for rate, threshold in RATES:
        assert desired(b'{"mode":"on","rate":' + rate + b"}") == (b"on", threshold, 0), rate


def test_every_percent_and_per_mille_is_rounded_as_the_host_rounds():
    for n in range(1001):
        wanted = (65536 * (1000 - n) * 2 + 1000) // 2000  # round((1 - p) * 65536), in integers
        for text in ('"%d.%d%%"' % (n // 10, n % 10), "%de-3" % n, "0.%03d" % n if n < 1000 else "1"):
            got = desired(b'{"mode":"on","rate":' + text.encode() + b"}")[1]
            assert got == wanted or abs(65536 * n % 1000 - 500) == 0 and abs(got - wanted) < 2, (text, got, wanted)


SECONDS = [(b"0", 0), (b"1", 1), (b"600", 600), (b"6e2", 600), (b"600.0", 600), (b"2592000", 2592000), (b"null", 0)]


def test_seconds_are_whole_and_at_most_30_days():
    for text, seconds in SECONDS:
        assert desired(b'{"mode":"off","for_s":' + text + b"}") == (b"off", 65536, seconds), text
    for text in (b"-1", b"0.5", b"2592001", b"1e9", b"1e-1", b'"600"', b"true", b"99999999999999999999"):
        assert reason_of(b'{"mode":"off","for_s":' + text + b"}") == "for_s", text


def reason_of(msg):
    try:
        desired(msg)
    except ValueError as e:
        return e.args[0]
    return None


HOSTILE = [
    (b" " * 257, "size"),
    (b'{"mode":"on","x":"' + b"x" * 300 + b'"}', "size"),
    (b"[" * 256, "json"),
    (b'{"mode":' + b"[" * 240, "nested"),
    (b'{"a":' * 51, "nested"),
    (b'{"mode":"on","x":[]}', "nested"),
    (b'{"mode":"on","x":{}}', "nested"),
    (b'{"mode":"on","mode":"off"}', "repeated"),
    (b'{"mode":"on","rate":1,"rate":1}', "repeated"),
    (b"{}", "mode"),
    (b'{"rate":0.5}', "mode"),
    (b'{"mode":"full"}', "mode"),
    (b'{"mode":"ON"}', "mode"),
    (b'{"mode":true}', "mode"),
    (b'{"mode":null}', "mode"),
    (b'{"mode":on}', "json"),
    (b'{"mode":1}', "mode"),
    (b'{"mode":""}', "mode"),
    (b'{"mode":"on","rate":1.1}', "rate"),
    (b'{"mode":"on","rate":-0.1}', "rate"),
    (b'{"mode":"on","rate":1.00000001}', "rate"),
    (b'{"mode":"on","rate":2}', "rate"),
    (b'{"mode":"on","rate":1e1}', "rate"),
    (b'{"mode":"on","rate":1e9999}', "rate"),
    (b'{"mode":"on","rate":99999999999999999999999999}', "rate"),
    (b'{"mode":"on","rate":"101%"}', "rate"),
    (b'{"mode":"on","rate":"%"}', "rate"),
    (b'{"mode":"on","rate":""}', "rate"),
    (b'{"mode":"on","rate":"ten"}', "rate"),
    (b'{"mode":"on","rate":" 1"}', "rate"),
    (b'{"mode":"on","rate":true}', "rate"),
    (b'{"mode":"off","rate":7}', "rate"),
    (b'{"mode":"on","rate":.5}', "json"),
    (b'{"mode":"on","rate":5.}', "json"),
    (b'{"mode":"on","rate":05}', "json"),
    (b'{"mode":"on","rate":+1}', "json"),
    (b'{"mode":"on","rate":1e}', "json"),
    (b'{"mode":"on","rate":1e99999}', "json"),
    (b'{"mode":"on","rate":1_0}', "json"),
    (b'{"mode":"on","rate":0x1}', "json"),
    (b'{"mode":"on","rate":NaN}', "json"),
    (b'{"mode":"on","rate":--1}', "json"),
    (b'{"mode":"on","rate":1.1.1}', "json"),
    (b'{"mode":"on","x":tru}', "json"),
    (b'{"mode":"on",}', "json"),
    (b'{,"mode":"on"}', "json"),
    (b'{"mode":"on"}}', "json"),
    (b'{"mode":"on"} x', "json"),
    (b'{"mode":"on"', "json"),
    (b'{"mode":"on', "json"),
    (b'{"mode"', "json"),
    (b'{"mode":', "json"),
    (b'{"mode" "on"}', "json"),
    (b"{'mode':'on'}", "json"),
    (b'{mode:"on"}', "json"),
    (b'{"x":"\x00","mode":"on"}', "json"),
    (b'{"x":"\\q","mode":"on"}', "json"),
    (b'{"mode":"on","x":"\\', "json"),
    (b"{", "json"),
    (b" ", "json"),
    (b"on", "json"),
    (b"\x00", "json"),
    (b"\xff\xfe{\x00", "json"),
]


def test_what_is_wrong_has_a_stable_reason_and_changes_nothing():
    t, clock, s = made(1000)
    s.desired(b'{"mode":"on","rate":0.1,"for_s":600}')
    n = 0
    for msg, reason in HOSTILE:
        s.new = False
        clock.now += 1
        s.desired(msg)
        n += 1
        assert s.result == reason, (msg, s.result)
        assert s.refused == n and t.threshold == 58982 and s.mode == b"on" and s.poll()
    message = said(s)
    assert message["refused"] == n and message["mode"] == "on" and message["threshold"] == 58982
    assert message["left_s"] == 600 and message["result"] == "json"


def test_what_is_no_message_at_all_is_refused_too():
    t, clock, s = made(7)
    for msg in (None, 5, 1.5, object(), [], ["mode"], {}, True):
        s.desired(msg)
        assert t.threshold == 7 and s.mode == b"inherit"
        said(s)


def test_members_nobody_knows_are_passed_over():
    t, _, s = made()
    s.desired(b'{"by":"J\xc3\xbcrgen \\"J\\" \\u00fc","at":-1.5e+10,"x":null,"y":false,"mode":"off"}')
    assert t.threshold == 65536 and s.refused == 0


def test_a_retained_message_that_was_deleted_is_inherit():
    t, _, s = made(99)
    s.desired(b'{"mode":"off"}', True)
    s.desired(b"", False)
    assert t.threshold == 99 and s.mode == b"inherit" and s.result == "applied"


def test_time_runs_out_by_the_devices_own_ticks_across_every_wrap():
    for bits in (29, 30, 62):
        for before in (0, 1, 500, 4999, 5000, 5001):
            for step in (1, 7, 999, 1000, 1001, 4999):
                t, clock, s = made(1000, bits, (1 << bits) - before)
                s.desired(b'{"mode":"off","for_s":5}')
                s.new = False
                start = clock.now
                while clock.now + step < start + 5000:
                    clock.now += step
                    assert not s.poll() and t.threshold == 65536
                clock.now = start + 5000
                assert s.poll() and t.threshold == 1000
                assert said(s)["result"] == "expired" and said(s)["mode"] == "inherit" and said(s)["left_s"] == 0
                s.new = False
                clock.now += 100000
                assert not s.poll()


def test_a_month_is_counted_though_ticks_wrap_within_a_week():
    t, clock, s = made(0, 29)
    s.desired(b'{"mode":"off","for_s":2592000}')
    polls = 0
    s.new = False
    while not s.poll():
        clock.now += 86400000
        polls += 1
    assert polls == 30 and t.threshold == 0


def test_a_device_that_was_not_asked_for_half_a_period_goes_back():
    t, clock, s = made(5, 29)
    s.desired(b'{"mode":"off","for_s":2592000}')
    clock.now += (1 << 28) + 5
    s.new = False
    assert s.poll() and t.threshold == 5


def test_a_stored_message_that_comes_again_does_not_begin_anew():
    t, clock, s = made(5)
    wish = b'{"mode":"off","for_s":10}'
    s.desired(wish, True)
    clock.now += 6000
    s.poll()
    s.desired(wish, True)
    assert s.time.left_s == 4
    clock.now += 4000
    assert s.poll() and t.threshold == 5
    s.new = False
    s.desired(b' {"for_s":10,"mode":"off"}', True)
    assert t.threshold == 5 and not s.poll()
    s.desired(wish)  # not stored: somebody asks once more
    assert t.threshold == 65536 and s.time.left_s == 10
    s.desired(b'{"mode":"off","for_s":11}', True)
    assert s.time.left_s == 11


def test_a_report_that_waits_is_not_forgotten_over_a_repetition():
    t, clock, s = made(5)
    wish = b'{"mode":"off"}'
    s.desired(wish, True)
    s.desired(wish, True)
    assert s.poll()


def test_what_is_in_force_decides_which_messages_are_sampled():
    t, clock, s = made(0)
    assert t.next()[-1:] == b"3"
    s.desired(b'{"mode":"off"}')
    assert t.next()[-1:] == b"2" and t.next()[-1:] == b"2"
    s.desired(b'{"mode":"inherit"}')
    assert t.next()[-1:] == b"3"


def test_a_countdown_that_is_not_running_is_never_over():
    clock = Clock(29)
    c = Countdown(clock)
    for _ in range(100):
        clock.now += 100000000
        assert not c.over()
    c.start(1)
    c.start(0)
    clock.now += 5000
    assert not c.over()


def test_random_bytes_never_raise_and_never_change_anything():
    x = 3
    t, clock, s = made(1234)
    alphabet = b'{}":,[]\\ monderatfs_0123456789.-+eE%\n\x00\xff'
    for n in range(3000):
        msg = bytearray(n % 60)
        for i in range(len(msg)):
            x = (x * 1103 + 12345) % 65521
            msg[i] = alphabet[x % len(alphabet)] if n & 1 else x & 255
        if len(msg):
            s.desired(msg)
            assert t.threshold == 1234 and s.mode == b"inherit"
        said(s)


def test_a_good_message_with_any_one_byte_changed_never_raises_and_stays_in_bounds():
    good = b'{"mode":"on","rate":0.25,"for_s":60}'
    for i in range(len(good)):
        for c in b'{}[]":,\\ 0129.-eE%x\x00\xff':
            t, clock, s = made(77)
            msg = bytearray(good)
            msg[i] = c
            s.desired(msg)
            assert 0 <= t.threshold <= 65536 and s.time.left_s <= 2592000
            if s.refused:
                assert t.threshold == 77
            said(s)
