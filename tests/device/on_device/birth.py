"""The birth message says once what the host wants to know of a boot, whatever the application hands in."""

import json

from clock import Clock

from motetrace import Tracer
from motetrace.messages import birth, ticks_bits


def test_a_birth_message_names_nonce_mode_threshold_and_ticks_period():
    for mode, threshold in (("traceparent", 0), ("seqref", 64881)):
        for bits in (29, 30):
            t = Tracer(mode, threshold)
            said = json.loads(birth(t, clock=Clock(bits)).decode())
            nonce = "".join("%02x" % b for b in t.block[:5])
            assert said == {"v": 1, "nonce": nonce, "mode": mode, "threshold": threshold, "ticks_bits": bits}


def test_the_nonce_is_the_one_of_the_messages():
    t = Tracer()
    said = json.loads(birth(t).decode())
    assert bytes(t.next()[3:13]).decode() == said["nonce"]


def test_what_is_given_is_there_and_what_is_not_given_is_not():
    said = json.loads(birth(Tracer(), "1.4.2", {"site": "K\xfchlhaus", "line": 7}, "watchdog", 42, 60).decode())
    assert said["fw"] == "1.4.2" and said["baggage"] == {"site": "K\xfchlhaus", "line": "7"}
    assert said["reset"] == "watchdog" and said["boot"] == 42 and said["expiry_s"] == 60
    assert json.loads(birth(Tracer(), boot=0).decode())["boot"] == 0
    for name in ("fw", "baggage", "reset", "boot", "expiry_s"):
        assert name not in json.loads(birth(Tracer()).decode())


def test_a_birth_message_takes_no_seq():
    t = Tracer()
    birth(t, "1")
    assert t.seq() == 0


def test_the_period_of_every_clock_is_found():
    for bits in (8, 28, 29, 30, 62):
        assert ticks_bits(Clock(bits)) == bits
    assert ticks_bits() in (29, 30, 62)


HOSTILE = [
    'quote " backslash \\ slash /',
    "\x00\x01\x1b[2J\r\n\t\x7f\x9b",
    '","v":2,"nonce":"0000000000',
    "\u20ac \u65e5\u672c \u202e",
    "}" * 60,
]


def test_hostile_strings_come_out_as_themselves_and_as_printable_ascii():
    for text in HOSTILE:
        b = birth(Tracer(), text[:64], {text: text, "plain": text})
        assert all(32 <= c < 127 for c in b), b
        said = json.loads(b.decode())
        assert said["fw"] == text[:64] and said["baggage"] == {text: text, "plain": text}
        assert said["v"] == 1


def test_what_is_beyond_16_bits_is_a_pair_and_half_a_pair_is_replaced():
    # MicroPython's json does not put pairs together again: bytes are compared.
    assert b'"fw":"\\ud83e\\uddca\\udbff\\udfff"' in birth(Tracer(), "\U0001f9ca\U0010ffff")
    assert b'"fw":"\\ufffdx\\ufffd"' in birth(Tracer(), chr(0xD800) + "x" + chr(0xDFFF))


def refused(*args, **kw):
    try:
        birth(Tracer(), *args, **kw)
    except ValueError as e:
        return str(e)
    return None


def test_what_does_not_fit_is_refused_with_the_limit_and_what_fits_exactly_is_not():
    assert "64" in refused("x" * 65)
    assert "4096" in refused(size=4097)
    assert "64" in refused("", {str(n): "" for n in range(65)})
    assert "512" in refused("", {"a": "x" * 500})
    t = Tracer()
    n = len(birth(t, "", {"a": "x" * 300}))
    assert len(birth(t, "", {"a": "x" * 300}, size=n)) == n
    assert refused("", {"a": "x" * 300}, size=20)
    assert len(birth(t, "", {str(n): "y" * 40 for n in range(64)}, size=4096)) < 4096
