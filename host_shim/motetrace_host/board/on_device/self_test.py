# Does the library work here, and what does it cost: one line of JSON. Runs on MicroPython, CircuitPython and CPython.
# MODULES may be defined before: names of further modules to import.
# ruff: noqa: BLE001, UP031
# mypy: ignore-errors
import gc
import json
import sys
import time


def now_us():
    if hasattr(time, "ticks_us"):
        return time.ticks_us()
    return time.monotonic_ns() // 1000


def since_us(start):
    if hasattr(time, "ticks_diff"):
        return time.ticks_diff(time.ticks_us(), start)
    return time.monotonic_ns() // 1000 - start


def allocated():
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def digits(text, at, n):
    return all(48 <= text[i] <= 57 or 97 <= text[i] <= 102 for i in range(at, at + n))


def form(tracer, number):
    """What is wrong with the context of message `number`, or "" """
    text = bytes(tracer.next())
    seq = b"%08x" % number
    if len(text) != 55 or text[:3] != b"00-" or text[35] != 45 or text[52:] != b"-03":
        return "not a traceparent: %r" % text
    if not digits(text, 3, 32) or not digits(text, 36, 16) or text[13:21] != seq or text[44:52] != seq:
        return "message %d has a wrong seq or digit: %r" % (number, text)
    return ""


def spend(step, n):
    start = now_us()
    while n:
        step()
        n -= 1
    return since_us(start)


def lacking():
    """Which of the things that the library uses this firmware does not have."""
    found = []
    for name in ("machine", "cryptolib", "framebuf", "uctypes"):
        try:
            __import__(name)
        except ImportError:
            found.append(name)
    return found


def check(said, modules):
    gc.collect()
    before = allocated()
    # By name: this script lies in the host package, which never imports the device library.
    motetrace = __import__("motetrace")

    said["library"] = motetrace.__version__
    said["file"] = getattr(motetrace, "__file__", "")
    gc.collect()
    said["import_bytes"] = allocated() - before
    before = allocated()
    t = motetrace.Tracer()
    gc.collect()
    said["tracer_bytes"] = allocated() - before
    said["cipher"] = t.source
    said["fast"] = hasattr(sys.modules.get("motetrace_fast"), "next")  # a failed import may leave an empty module
    said["complete"] = "motetrace._port_other" not in sys.modules
    said["lacking"] = lacking()
    for number in (1, 2, 3):
        wrong = form(t, number)
        if wrong:
            return wrong
    if bytes(motetrace.Tracer().next())[3:13] == bytes(t.next())[3:13]:
        return "two tracers drew the same boot nonce: no entropy at all"
    step = t.next
    spend(step, 10)
    n = 1000 if spend(step, 10) < 20000 else 200
    gc.collect()
    gc.disable()
    before = allocated()
    spend(step, 0)
    empty = allocated() - before
    before = allocated()
    us = spend(step, n)
    said["next_bytes"] = (allocated() - before - empty) / n
    said["next_us"] = us / n
    gc.enable()
    said["absent"] = absent = []
    for name in modules:
        try:
            __import__("motetrace." + name)
        except ImportError as error:
            absent.append("%s: %s" % (name, error))
    return ""


def entropy():
    found = []
    try:
        from os import urandom

        urandom(1)
        found.append("os.urandom")
    except (ImportError, NotImplementedError):
        pass
    for module, name in (("machine", "unique_id"), ("machine", "reset_cause"), ("microcontroller", "cpu")):
        try:
            if hasattr(__import__(module), name):
                found.append(module + "." + name)
        except (ImportError, NotImplementedError):
            pass
    found.append("clock")
    return found


def self_test(modules):
    implementation = sys.implementation
    said = {
        "system": implementation.name,
        "version": ".".join(str(part) for part in implementation.version[:3]),
        "machine": getattr(implementation, "_machine", sys.platform),
        "entropy": entropy(),
    }
    try:
        said["wrong"] = check(said, modules)
    except Exception as error:
        gc.enable()
        said["wrong"] = "%s: %s" % (type(error).__name__, error)
    gc.collect()
    said["free_bytes"] = gc.mem_free() if hasattr(gc, "mem_free") else None
    return said


print("motetrace-self-test " + json.dumps(self_test(globals().get("MODULES", ()))))
