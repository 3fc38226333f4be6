"""The library without what CircuitPython lacks: read from the sources, and run with all of that hidden."""

import ast
import functools
import json
from pathlib import Path

import pytest

from motetrace_host.board import circuitpython, modules, self_test
from motetrace_host.board.edges import device_library
from tests.device import interpreters

HERE = Path(__file__).resolve().parent
DEVICE_TESTS = HERE.parent / "device"
SOURCES = device_library.sources()
# For MicroPython's own clients, or built on one; and the one store whose module says so itself.
MICROPYTHON_ONLY = {"mqtt5", "mqtt_as", "publish", "robust", "robust2", "simple", "simple2"}
# Imports inside functions that CircuitPython users have no reason to call.
ASKED_FOR = {"boot": {"machine", "esp32"}, "mqtt5": {"ssl"}}
# Files of tests/device/on_device that do not apply, and why.
NOT_HERE = {
    "accelerator": "machine code",
    "boards": "hides and replaces modules itself, CircuitPython's among them",
    "golden": "hides and replaces modules itself, CircuitPython's among them",
}


def test_what_circuitpython_gets_uses_nothing_that_it_lacks() -> None:
    found = circuitpython.fit(SOURCES)
    assert {name for name, reasons in found.items() if reasons} == MICROPYTHON_ONLY, found


def test_parts_of_other_boards_are_imported_only_when_asked_for() -> None:
    assert {name: what for name in SOURCES if (what := circuitpython.imported_when_called(SOURCES[name]))} == ASKED_FOR


def test_what_circuitpython_users_are_told_to_install_fits() -> None:
    found = circuitpython.fit(SOURCES)
    for name in ("minimqtt", "payload", "messages", "sampling", "incoming", "boot"):
        assert name in modules.extras(SOURCES) and found[name] == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("from time import ticks_us", "line 1: time.ticks_us"),
        ("import time\ndef f():\n    return time.ticks_ms()", "line 3: time.ticks_ms"),
        ("import machine", "line 1: machine"),
        ("from cryptolib import aes", "line 1: cryptolib"),
        ("from hashlib import sha256", "line 1: hashlib.sha256"),
        ("import uctypes, sys", "line 1: uctypes"),
        ("import framebuf", "line 1: framebuf"),
        ("from micropython import heap_lock", "line 1: micropython.heap_lock"),
        ("import micropython\n@micropython.viper\ndef f():\n    pass", "line 2: micropython.viper"),
        ("import micropython\n@micropython.native\ndef f():\n    pass", "line 3: @micropython.native"),
        ("import sys\nsys.print_exception", "line 2: sys.print_exception"),
        ("match x:\n    case 1:\n        pass", "line 1: match statement"),
        ("if (n := 1):\n    pass", "line 1: assignment expression"),
        ("def f(a, /):\n    pass", "positional-only parameters"),
        ("try:\n    import machine\nexcept ValueError:\n    pass", "line 2: machine"),
        ("try:\n    pass\nexcept ImportError:\n    import machine", "line 4: machine"),
    ],
)
def test_the_static_check_sees(source: str, missing: str) -> None:
    assert any(missing in found for found in circuitpython.lacks(source)), circuitpython.lacks(source)


@pytest.mark.parametrize(
    "source",
    [
        "from micropython import const\nimport time\ntime.monotonic_ns()",
        "try:\n    from time import ticks_ms\nexcept ImportError:\n    from supervisor import ticks_ms",
        "try:\n    import machine\nexcept (ImportError, AttributeError):\n    machine = None",
        "import hashlib\ntry:\n    hashlib.sha256(b'')\nexcept AttributeError:\n    hashlib.new('sha256', b'')",
        "def f():\n    from machine import RTC\n    return RTC()",
        "from motetrace import _port",
    ],
)
def test_the_static_check_passes_over(source: str) -> None:
    assert circuitpython.lacks(source) == []


def test_syntax_is_refused_wherever_it_stands() -> None:
    guarded = "try:\n    @micropython.viper\n    def f():\n        pass\nexcept ImportError:\n    pass"
    assert circuitpython.lacks(guarded) == []
    assert circuitpython.hostile_syntax(guarded) == ["line 3: @micropython.viper"]


def _files() -> list[Path]:
    files = [*sorted((HERE / "on_circuitpython").glob("*.py"))]
    for path in sorted((DEVICE_TESTS / "on_device").glob("*.py")):
        if path.stem not in NOT_HERE and not _micropython_only(path):
            files.append(path)
    return files


def _micropython_only(path: Path) -> bool:
    """A file says INTERPRETERS when it needs what only MicroPython has: heap figures, umqtt, non-blocking streams."""
    assigned = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign))
    return any(getattr(node.targets[0], "id", "") == "INTERPRETERS" for node in assigned)


@functools.cache
def _outcomes(interpreter: str, aesio: str, path: Path) -> tuple[dict[str, str], str]:
    done = interpreters.run(interpreter, HERE / "circuitpython_runner.py", aesio, DEVICE_TESTS / "runner.py", path)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {each["test"]: each["trace"] for each in answers}, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
@pytest.mark.parametrize("aesio", ["aesio", "none"])
@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_the_device_tests_pass_with_what_circuitpython_lacks_hidden(interpreter: str, aesio: str, path: Path) -> None:
    outcomes, said = _outcomes(interpreter, aesio, path)
    wanted = {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert set(outcomes) == wanted, said
    assert {test: trace for test, trace in outcomes.items() if trace} == {}


@pytest.mark.parametrize(("aesio", "cipher"), [("aesio", "aes"), ("none", "sfc16")])
@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_the_self_test_runs_there_too_and_says_what_is_lacking(interpreter: str, aesio: str, cipher: str) -> None:
    script = device_library.folder().parents[1] / "host_shim/motetrace_host/board/on_device/self_test.py"
    done = interpreters.run(interpreter, HERE / "circuitpython_runner.py", aesio, script, script)
    said = self_test.parse(done.stdout)
    assert said.passed, (said, done.stderr)
    assert said.cipher == cipher and not said.fast and not said.complete
    # On CPython, None in sys.modules; MicroPython's own modules are empty here, which an import does not tell.
    assert said.lacking == (["machine", "cryptolib", "framebuf", "uctypes"] if interpreter == "cpython" else [])
    assert "microcontroller.cpu" in said.entropy


def test_the_files_that_do_not_apply_are_still_there() -> None:
    assert {path.stem for path in (DEVICE_TESTS / "on_device").glob("*.py")} >= NOT_HERE.keys()
    assert {path.stem for path in _files()} >= {"surroundings", "tracer", "birth", "incoming", "boot_count"}
