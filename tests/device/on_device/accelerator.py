"""Tracer.next in machine code makes, from the same seed, what it makes in bytecode."""

import sys

from clock import Clock
from interpreter import at_seq, deterministic, fresh

INTERPRETERS = ("micropython64", "micropython32")

sys.path.append(__file__.rsplit("/", 4)[0] + "/device_lib/accelerator")

EDGES = (1 << 4, 1 << 8, 1 << 16, 1 << 24, 1 << 30, 1 << 31, 1 << 32)
SEED = bytes(range(7, 39))


def pair(*arguments, **keywords):
    """The same tracer twice: in bytecode, and in machine code."""
    made = []
    for hide in (("motetrace_fast",), ()):
        Tracer, port = fresh(hide)
        deterministic(port, SEED)
        made.append(Tracer(*arguments, **keywords))
    import motetrace_fast

    slow, fast = made
    assert type(fast).next is motetrace_fast.next and type(slow).next is not motetrace_fast.next
    return made


def agree(slow, fast):
    assert bytes(slow.next()) == bytes(fast.next()) == bytes(fast._long)[: len(fast._short)], slow.seq()
    assert bytes(slow.block) == bytes(fast.block)
    assert slow.sampled is fast.sampled
    assert slow.tracestate == fast.tracestate


def test_every_message_across_every_carry_and_the_wrap_is_the_same():
    for mode in ("traceparent", "seqref"):
        for threshold in (0, 1, 0x8000, 65536):
            slow, fast = pair(mode, threshold)
            for edge in EDGES:
                for t in (slow, fast):
                    at_seq(t, edge - 3)
                for _ in range(280):
                    agree(slow, fast)


def test_a_threshold_that_changes_while_running_is_followed_alike():
    for mode in ("traceparent", "seqref"):
        slow, fast = pair(mode)
        for i in range(300):
            slow.threshold = fast.threshold = (0, 65536, 0, 0x4000, 0x8000, 0xFFFF)[i // 3 % 6]
            agree(slow, fast)


def test_marks_and_ages_are_the_same():
    for mode in ("traceparent", "seqref"):
        clock = Clock()
        slow, fast = pair(mode, clock=clock)
        for age in (0, 1, 15, 16, 65535, 65536, 3, 0xFFFFFFF, 0x10000000, 500):
            for t in (slow, fast):
                t.mark()
            clock.now += age
            assert bytes(slow.next()) == bytes(fast.next()) and slow.tracestate == fast.tracestate, age
            agree(slow, fast)


def test_the_same_buffer_comes_back():
    for mode in ("traceparent", "seqref"):
        _, fast = pair(mode)
        assert fast.next() is fast.next()
