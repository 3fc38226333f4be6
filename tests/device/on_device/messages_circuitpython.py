"""Birth, stats, sampling, boot count and the rest where there is only what CircuitPython has."""

import json
import sys

from interpreter import Module, surrounded
from stores import Budget, Flash

HIDDEN = ("machine", "uctypes", "cryptolib", "micropython", "hashlib", "framebuf")


class Board:
    """A Pico W with CircuitPython, as far as its modules go; ticks begin 65 s before their first wrap, as they do."""

    def __init__(self):
        self.now = (1 << 29) - 65000
        power_on = object()
        cpu = Module(uid=b"\xe6\x61\x64\x08\x43\x19\x22\x2f", reset_reason=power_on)
        reasons = Module(POWER_ON=power_on)
        self.modules = {
            "supervisor": Module(ticks_ms=lambda: self.now & 0x1FFFFFFF),
            "time": Module(monotonic=lambda: 1.0, monotonic_ns=lambda: 1000000000),
            "microcontroller": Module(cpu=cpu, ResetReason=reasons, nvm=Flash(512, Budget())),
        }


def anew():
    for name in [n for n in sys.modules if n == "motetrace" or n.startswith("motetrace.")]:
        del sys.modules[name]


def test_everything_works_with_what_circuitpython_has():
    board = Board()
    try:
        with surrounded(HIDDEN, **board.modules):
            anew()
            from motetrace import Tracer
            from motetrace.boot import NAMES, Asleep, BootCount, Bytes, Nvm, reset_cause
            from motetrace.messages import Counted, Stats, birth
            from motetrace.sampling import Sampling

            Nvm().begin()
            boot = BootCount(Nvm, reset_cause())
            assert boot.count == 1 and BootCount(Nvm).count == 2
            asleep = Asleep(Bytes(bytearray(64)))
            t = Tracer("seqref", clock=asleep)
            said = json.loads(birth(t, "1", reset=NAMES[reset_cause()], boot=boot.count).decode())
            assert (said["ticks_bits"], said["reset"], said["boot"]) == (29, "power_on", 1)

            class Client:
                def publish(self, topic, msg, retain=False, qos=0):
                    t.next()
                    board.now += 70000  # over the wrap
                    if msg == "broken":
                        raise OSError(104)

            stats = Stats(t, 2, 600)
            client = Counted(Client(), stats, waits=True)
            client.publish("t", "m", False, 1)
            assert not stats.due()
            try:
                client.publish("t", "broken", False, 1)
            except OSError:
                pass
            assert stats.due()
            said = json.loads(bytes(stats.build()).decode())
            assert (said["failed"], said["acked"], said["rtt_ms"]) == ([[2, 2]], 1, 70000)
            sampling = Sampling(t)
            sampling.desired('{"mode":"off","for_s":60}')
            assert t.threshold == 65536
            board.now += 60000
            assert sampling.poll() and t.threshold == 0
            assert asleep.keep(board.now, 5000) and asleep.woke(t)
    finally:
        anew()
