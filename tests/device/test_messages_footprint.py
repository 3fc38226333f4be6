"""What the modules cost with which a device counts, remembers and talks about itself: flash, and frames."""

import re
from pathlib import Path

import pytest

from tests.device import interpreters, ram, sizes

FRAME_WORDS = 11  # more of them, and MicroPython puts a frame on the heap at each call
MODULES = ("messages", "sampling", "boot", "_json")
HOT = {
    "messages": (
        *("_send", "_raised", "_done", "_numbered"),  # Counted; its publish beside CountedAsync's: see below
        *("published", "raised", "status", "arrived", "session_lost", "write"),  # Tally
        *("add", "take", "_find", "_again", "_same", "clear", "now", "after_ms", "waited_ms"),  # InFlight
        *("take_back", "forget", "_beyond", "_put"),  # Ranges
        *("due", "build", "_extra"),  # Stats
    ),
    "_json": ("start", "byte", "raw", "number", "seq", "member", "view"),
    "sampling": ("start", "over", "poll", "reported"),
}
_FUNCTION = re.compile(r"^File (\S+), code block '([^'\n]*)'.*?^\(N_STATE (\d+)\)$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", params=interpreters.MICROPYTHONS)
def frames(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], int]:
    """N_STATE by (module, function) as the interpreter's own compiler reports it."""
    script = tmp_path_factory.mktemp("frames") / "everything.py"
    script.write_text("".join(f"import motetrace.{module}\n" for module in HOT))
    done = interpreters.run(request.param, "-v", "-v", "-v", script)
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr)
    found: dict[tuple[str, str], int] = {}
    for path, function, words in _FUNCTION.findall(done.stdout):
        if Path(path).parent.name == "motetrace":  # of functions of one name the one with the most words
            key = (Path(path).stem, function)
            found[key] = max(int(words), found.get(key, 0))
    return found


@pytest.mark.parametrize(("module", "function"), [(m, f) for m, functions in HOT.items() for f in functions])
def test_the_frame_of_a_hot_function_stays_off_the_heap(
    frames: dict[tuple[str, str], int], module: str, function: str
) -> None:
    tries = 1 if function == "_send" else 0
    assert frames[module, function] + 3 * tries <= FRAME_WORDS


def test_the_frame_of_a_counted_publish_stays_off_the_heap(tmp_path: Path) -> None:
    """CountedAsync has a publish, too, which may allocate as every async function does."""
    source = (sizes.PACKAGE / "messages.py").read_text()
    alone = tmp_path / "counted_alone.py"
    alone.write_text(source[source.index("class Counted:") : source.index("class CountedAsync:")])
    done = interpreters.run("micropython32", "-v", "-v", "-v", alone)
    words = [int(words) for _, function, words in _FUNCTION.findall(done.stdout) if function == "publish"]
    assert words
    assert words[0] <= FRAME_WORDS


def test_messages_sampling_and_boot_together_stay_a_sixth_below_what_they_were_in_26_modules(tmp_path: Path) -> None:
    flash = sum(size.mpy_bytes for size in sizes.measure() if size.module in MODULES)
    assert flash <= 0.83 * 15_456
    ram.compile_package(tmp_path)
    assert ram.measure_together(tmp_path, MODULES) <= 0.83 * 26_832


@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_every_module_can_be_imported_alone(interpreter: str, tmp_path: Path) -> None:
    """Also where nothing of a board is there: what a store needs is imported when it is made."""
    for module in MODULES:
        script = tmp_path / f"import_{module}.py"
        script.write_text(f"import motetrace.{module}\nprint('ok')\n")
        done = interpreters.run(interpreter, script)
        assert done.stdout.strip().endswith("ok"), (module, done.stdout, done.stderr)
