"""Heap that the library takes, in bytes, one JSON line: for the core, one Tracer, and modules named in the command.

micropython ram.py umqtt.simple2 motetrace.mqtt5      what stands left of ours is loaded first, and not counted
"""

import gc
import json
import sys


def taken(step):
    gc.collect()
    before = gc.mem_alloc()
    kept = step()
    gc.collect()
    return gc.mem_alloc() - before, kept


def load(name):
    return lambda: __import__(name)


def use(package):
    package.Tracer().next()  # what the first one loads is the core's
    return package


for name in [name for name in sys.argv[1:] if not name.startswith("motetrace")]:
    __import__(name)
core, package = taken(lambda: use(__import__("motetrace")))
tracer, kept = taken(package.Tracer)
extras = 0
for name in [name for name in sys.argv[1:] if name.startswith("motetrace")]:
    extras += taken(load(name))[0]
print(json.dumps({"core": core, "tracer": tracer, "extras": extras}))
