"""What the modules cost with which a device counts, remembers and talks about itself: flash, and frames."""

import re
from pathlib import Path

import pytest

from tests.device import interpreters, sizes

FRAME_WORDS = 11  # more of them, and MicroPython puts a frame on the heap at each call
BUDGET_BYTES = 921
MODULES = (
    *(
        "asleep",
        "birth",
        "boot_count",
        "countdown",
        "counted",
        "counted_async",
        "desired",
        "every",
        "file_slots",
        "flat_json",
    ),
    *("in_flight", "json_buffer", "json_number", "json_text", "memory", "nvm", "nvs", "ranges", "reset_cause"),
    *("sampling", "sampling_state", "slots", "stats", "tally", "ticks", "words"),
)
HOT = {
    "counted": ("publish", "_send", "_raised", "_done", "_numbered"),
    "tally": ("published", "raised", "status", "arrived", "session_lost", "write"),
    "in_flight": ("add", "take", "_find", "_again", "_same", "clear", "now", "after_ms", "waited_ms"),
    "ranges": ("add", "take_back", "forget", "write", "_beyond", "_put"),
    "every": ("due", "again"),
    "stats": ("due", "build", "_extra"),
    "json_buffer": ("start", "byte", "raw", "number", "seq", "member", "view"),
    "countdown": ("start", "over"),
    "sampling": ("poll",),
    "sampling_state": ("reported",),
}
_FUNCTION = re.compile(r"^File (\S+), code block '([^'\n]*)'.*?^\(N_STATE (\d+)\)$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", params=interpreters.MICROPYTHONS)
def frames(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], int]:
    """N_STATE by (module, function) as the interpreter's own compiler reports it."""
    script = tmp_path_factory.mktemp("frames") / "everything.py"
    script.write_text("".join(f"import motetrace.{module}\n" for module in HOT))
    done = interpreters.run(request.param, "-v", "-v", "-v", script)
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr)
    return {
        (Path(path).stem, function): int(words)
        for path, function, words in _FUNCTION.findall(done.stdout)
        if Path(path).parent.name == "motetrace"
    }


@pytest.mark.parametrize(("module", "function"), [(m, f) for m, functions in HOT.items() for f in functions])
def test_the_frame_of_a_hot_function_stays_off_the_heap(
    frames: dict[tuple[str, str], int], module: str, function: str
) -> None:
    tries = 1 if function == "_send" else 0
    assert frames[module, function] + 3 * tries <= FRAME_WORDS


@pytest.mark.parametrize("size", [s for s in sizes.measure() if s.module in MODULES], ids=lambda size: size.module)
def test_a_module_fits_an_adapters_budget(size: sizes.Size) -> None:
    assert size.mpy_bytes <= BUDGET_BYTES


@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_every_module_can_be_imported_alone(interpreter: str, tmp_path: Path) -> None:
    """Also where nothing of a board is there: what a store needs is imported when it is made."""
    for module in MODULES:
        script = tmp_path / f"import_{module}.py"
        script.write_text(f"import motetrace.{module}\nprint('ok')\n")
        done = interpreters.run(interpreter, script)
        assert done.stdout.strip().endswith("ok"), (module, done.stdout, done.stderr)
