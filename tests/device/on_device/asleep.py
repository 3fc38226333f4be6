"""A reading that waits while the device sleeps arrives with its age; and what holds when memory is gone."""

from clock import Clock
from stores import Budget, PowerCut, Rtc, TornBytes

from motetrace import Tracer
from motetrace.boot import Asleep, BootCount, Bytes, RtcMemory, Slots


def age_of(tracer, context):
    if tracer.mode == "seqref":
        return int(bytes(context[23:]).decode(), 16) if len(context) > 22 else None
    return int(bytes(tracer.tracestate[5:]).decode(), 16) if tracer.tracestate else None


def memories():
    yield RtcMemory(Rtc(Budget(), b"application"))
    yield Bytes(TornBytes(64, Budget(), 255))


def slept(memory, mode, bits, reading, asleep_at, sleep_ms, published):
    """The age that the host is told, of a reading at tick `reading`, published `published` ms after the reset."""
    before = Clock(bits, reading)
    asleep = Asleep(memory, clock=before)
    ticks = asleep.ticks_ms()
    before.now = asleep_at
    assert asleep.keep(ticks, sleep_ms)
    after = Clock(bits, 0)  # the reset: ticks begin anew, RAM is gone
    asleep = Asleep(memory, clock=after)
    tracer = Tracer(mode, clock=asleep)
    after.now = published // 2
    assert asleep.woke(tracer)
    after.now = published
    age = age_of(tracer, tracer.next())
    assert age_of(tracer, tracer.next()) is None
    after.now += 10
    tracer.mark()
    after.now += 33
    assert age_of(tracer, tracer.next()) == 33  # the next reading has its own age only
    assert not asleep.woke(tracer)
    return age


def test_age_is_what_passed_before_in_and_after_the_sleep_across_every_wrap():
    for memory in memories():
        for mode in ("traceparent", "seqref"):
            for bits in (29, 30, 62):
                for reading in (0, 1000, (1 << bits) - 1, (1 << bits) - 250):
                    assert slept(memory, mode, bits, reading, reading + 250, 600000, 1200) == 601450


def test_a_sleep_that_is_too_long_saturates():
    for memory in memories():
        assert slept(memory, "seqref", 30, 0, 50, 0xFFFFFFF - 50, 0) == 0xFFFFFFF
        assert slept(memory, "seqref", 30, 0, 50, 0xFFFFFFF - 49, 0) == 0xFFFFFFF
        assert slept(memory, "seqref", 30, 0, 50, 0x3FFFFFFF, 0) == 0xFFFFFFF
        assert slept(memory, "seqref", 30, 0, 1 << 29, 100, 0) == 0xFFFFFFF


def test_boot_count_and_age_live_side_by_side():
    rtc = Rtc(Budget(), b"app")
    for n in range(1, 6):
        memory = RtcMemory(rtc)
        assert BootCount(Slots(memory, 3)).count == n
        asleep = Asleep(memory, 19, clock=Clock())
        assert asleep.woke(Tracer(clock=asleep)) == (n > 1)
        assert asleep.keep(0, 1000)
        assert rtc.memory()[:3] == b"app"


def test_without_memory_a_reading_has_no_age_and_nothing_raises():
    class Absent:
        def read(self, at, n):
            raise OSError(19)

        write = read

    for memory in (Absent(), None):
        asleep = Asleep(memory, clock=Clock())
        assert not asleep.keep(0, 1000)
        tracer = Tracer("seqref", clock=asleep)
        assert not asleep.woke(tracer) and len(tracer.next()) == 22


def test_a_reset_while_the_age_is_written_leaves_the_whole_age_or_none():
    for cut in range(9):
        power = Budget()
        memory = Bytes(TornBytes(32, power))
        asleep = Asleep(memory, clock=Clock(30, 250))
        power.left = cut
        try:
            asleep.keep(0, 1000)
        except PowerCut:
            pass
        power.left = None
        asleep = Asleep(memory, clock=Clock())
        tracer = Tracer("seqref", clock=asleep)
        woke = asleep.woke(tracer)
        assert age_of(tracer, tracer.next()) == (1250 if woke else None) and woke == (cut >= 8)


def test_mark_before_and_publish_after_a_sleep_that_keeps_ram_needs_nothing_of_this():
    clock = Clock()
    t = Tracer("seqref", clock=clock)
    t.mark()
    clock.now += 600000  # lightsleep: ticks go on
    assert age_of(t, t.next()) == 600000
