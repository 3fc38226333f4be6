"""Runs under MicroPython: the ways to make a context, beside the obvious one-liner.

    micropython encoder_on_device.py                  time and heap bytes per call of each, interleaved, in JSON lines
    micropython encoder_on_device.py SUBJECT CALLS    so many calls of one, begun at a line on stdin: instructions.py's

With `motetrace_fast` on the path the tracer is in machine code; the subjects' names say so.
"""

import json
import sys
import time
from binascii import hexlify
from os import urandom

import micropython

from motetrace import Tracer

CALLS = 5000
ROUNDS = 9
FAST = ", machine code" if "motetrace_fast" in sys.modules else ""


def one_liner():
    return "00-%s-%s-01" % (hexlify(urandom(16)).decode(), hexlify(urandom(8)).decode())


class Empty:
    def call(self):
        pass


def subjects():
    aging = Tracer()

    def aged():
        aging.mark()
        aging.next()

    return (
        ("empty call", Empty().call),
        ("one-liner", one_liner),
        ("traceparent" + FAST, Tracer().next),
        ("seqref" + FAST, Tracer("seqref").next),
        ("traceparent, half of them sampled" + FAST, Tracer(threshold=32768).next),
        ("traceparent, mark() and next()" + FAST, aged),
    )


def us(f):
    start = time.ticks_us()
    for _ in range(CALLS):
        f()
    return time.ticks_diff(time.ticks_us(), start) / CALLS


def heap_bytes(f):
    f()
    before = micropython.mem_total()
    f()
    return micropython.mem_total() - before


def measure():
    best = {}
    every = subjects()
    for _ in range(ROUNDS):
        for name, f in every:
            t = us(f)
            best[name] = min(best.get(name, t), t)
    for name, f in every:
        print(json.dumps({"name": name, "us": best[name], "heap_bytes": heap_bytes(f)}))


def count(name, calls):
    f = next(f for each, f in subjects() if each == name)
    for _ in range(4):
        f()
    print("ready")
    sys.stdin.readline()
    while calls:
        f()
        calls -= 1


if len(sys.argv) > 1:
    count(sys.argv[1], int(sys.argv[2]))
else:
    measure()
