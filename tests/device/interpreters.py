"""The three interpreters that device code is tested on, and what their processes need to find it."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import parts

HERE = Path(__file__).resolve().parent
DEVICE_LIB = parts.ROOT / "device_lib"
MICROPYTHONS = ("micropython64", "micropython32")
NAMES = ("cpython", *MICROPYTHONS)
ROOMY = dict.fromkeys(MICROPYTHONS, ("-X", "heapsize=32m"))  # for tests that collect what they saw


@functools.cache
def command(interpreter: str) -> tuple[str, ...]:
    """The words that start it, to put a script after."""
    if interpreter == "cpython":
        return (sys.executable, "-S")  # without site-packages, where a stand-in for some board's modules may be
    return tuple(parts.micropython(int(interpreter.removeprefix("micropython"))))


@functools.cache
def _environment() -> dict[str, str]:
    path = os.pathsep.join(map(str, (DEVICE_LIB, HERE / "fakes", parts.simple2())))
    return {**os.environ, "MICROPYPATH": path, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def environment() -> dict[str, str]:
    """Environment variables under which `import motetrace`, `import umqtt` and the fakes work."""
    return dict(_environment())


def run(interpreter: str, *words: str | Path, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a script to its end; neither output nor exit code is judged here."""
    return subprocess.run(
        [*command(interpreter), *ROOMY.get(interpreter, ()), *map(str, words)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
