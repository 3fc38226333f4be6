# What this board is and has: one line of JSON. Runs on MicroPython and CircuitPython; changes nothing.
# ruff: noqa: PTH116, PTH208
# mypy: ignore-errors
import json
import os
import sys


def survey():
    implementation = sys.implementation
    said = {
        "system": implementation.name,
        "version": ".".join(str(part) for part in implementation.version[:3]),
        "machine": getattr(implementation, "_machine", "") or os.uname().machine,
        "mpy": getattr(implementation, "_mpy", 0),
        "lib": "",
        "files": {},
    }
    for path in sys.path:
        if path.endswith("/lib") and not path.startswith("/rom"):
            said["lib"] = path
            break
    try:
        for folder in ("/", "/motetrace/"):
            for name in os.listdir(said["lib"] + folder):
                if name.startswith("motetrace") or folder != "/":
                    said["files"][(folder + name)[1:]] = os.stat(said["lib"] + folder + name)[6]
    except OSError:
        pass
    try:
        os.stat(said["lib"] or "/")
        where = os.statvfs(said["lib"])
    except OSError:
        where = os.statvfs("/")
    said["block_bytes"] = where[0]
    said["free_bytes"] = where[1] * where[4]
    return said


print("motetrace-survey " + json.dumps(survey()))
