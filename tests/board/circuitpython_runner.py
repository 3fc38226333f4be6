"""Run a file of tests/device/on_device on an interpreter from which everything that CircuitPython lacks is hidden.

    <interpreter> circuitpython_runner.py aesio|none ../device/runner.py ../device/on_device/tracer.py

Hidden: micropython beyond const, time.ticks_* and sleep_*, cryptolib, hashlib but for new("sha256"), uctypes, framebuf,
machine, esp32, sys.print_exception. There instead: supervisor.ticks_ms, microcontroller.cpu, and, if asked for, aesio.
"""

# ruff: noqa: PTH123
import hashlib
import sys
import time

import interpreter
from interpreter import Module, aes128

sys.path.append(".frozen")


def monotonic_ns():
    return time.time_ns() if not hasattr(time, "monotonic_ns") else time.monotonic_ns()


class Hashlib:
    def new(self, name, data=b""):
        assert name == "sha256"
        return hashlib.sha256(data)


class Aesio:
    MODE_ECB = 1

    class AES:
        def __init__(self, key, mode):
            assert mode == Aesio.MODE_ECB
            self._aes = real_aes(key, 1)

        def encrypt_into(self, src, dst):
            self._aes.encrypt(src, dst)


try:
    from cryptolib import aes as real_aes
except ImportError:
    real_aes = aes128.aes

CPYTHON = sys.implementation.name == "cpython"
STARTED_NS = monotonic_ns()
HIDDEN = ("cryptolib", "uctypes", "framebuf", "machine", "esp32")
THERE = {
    "micropython": Module(const=lambda value: value),
    "time": Module(
        monotonic=lambda: monotonic_ns() / 1e9,
        monotonic_ns=monotonic_ns,
        sleep=time.sleep,
        time=lambda: int(time.time()),
        localtime=time.localtime,
    ),
    "hashlib": Hashlib(),
    "supervisor": Module(ticks_ms=lambda: ((monotonic_ns() - STARTED_NS) // 1000000 + 0x1FFF0218) & 0x1FFFFFFF),
    "microcontroller": Module(
        cpu=Module(uid=b"\xe6\x61\x64\x08\x43\x2a\x11\x2b", reset_reason=1),
        ResetReason=Module(POWER_ON=1, DEEP_SLEEP_ALARM=2),
    ),
}


def main(aesio, runner, path):
    sys.modules.update(THERE)
    for name in HIDDEN:
        sys.modules[name] = None if CPYTHON else Module()  # None: the import fails; MicroPython would import None
    if aesio == "aesio":
        sys.modules["aesio"] = Aesio()
    interpreter.CIPHER["cryptolib"] = aes128  # for tests that ask for AES by name, whatever the board has
    sys.argv[:] = [runner, path]
    with open(runner) as file:
        program = file.read()
    exec(compile(program, runner, "exec"), {"__name__": "__main__"})


main(*sys.argv[1:])
