"""On a board with CircuitPython: what is hidden is hidden, and the contexts are the golden ones all the same."""

# ruff: noqa: N806
import sys

import vectors
from clock import Clock
from interpreter import at_seq, deterministic, fresh

AESIO = "aesio" in sys.modules
VECTORS = vectors.load("tracer.json")


def absent(name, attribute=None):
    try:
        module = __import__(name)
    except ImportError:
        return True
    return attribute is not None and not hasattr(module, attribute)


def test_what_circuitpython_lacks_is_hidden():
    for name, attribute in (
        ("time", "ticks_ms"),
        ("time", "ticks_us"),
        ("time", "sleep_ms"),
        ("micropython", "viper"),
        ("micropython", "mem_total"),
        ("micropython", "heap_lock"),
        ("hashlib", "sha256"),
        ("uctypes", "addressof"),
        ("framebuf", "FrameBuffer"),
        ("cryptolib", "aes"),
        ("machine", "unique_id"),
    ):
        assert absent(name, attribute), (name, attribute)


def test_the_library_takes_what_is_there():
    from motetrace import Tracer, _port

    assert "motetrace._port_other" in sys.modules and "motetrace_fast" not in str(Tracer.next)
    assert Tracer().source == ("aes" if AESIO else "sfc16")
    # The stand-in's ticks run over 2**29 a second after the start, as a board's do after 65 s.
    assert 0 <= _port.ticks_ms() < 1 << 29
    assert _port.ticks_diff(3, (1 << 29) - 2) == 5


def unhex(text):
    return bytes(int(text[i : i + 2], 16) for i in range(0, len(text), 2))


def test_contexts_are_the_golden_ones():
    if not AESIO:
        return  # the vectors are AES's; golden.py holds sfc16 to a reference of its own
    for case in VECTORS["tracer"]:
        clock = Clock(62)
        Tracer, port = fresh()
        deterministic(port, unhex(case["seed"]))
        t = Tracer(case["mode"], case["threshold"], clock=clock)
        if case["after_seq"]:
            at_seq(t, case["after_seq"])
        for message in case["messages"]:
            if "age_ms" in message:
                t.mark()
                clock.now += message["age_ms"]
            assert bytes(t.next()).decode() == message["context"], (case["name"], message)


def test_two_boots_of_one_board_share_no_nonce():
    Tracer, _ = fresh()
    assert len({bytes(Tracer().block[:5]) for _ in range(200)}) == 200
