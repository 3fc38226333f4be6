"""What the library costs on a board: flash by module, and stack frames that stay off the heap."""

import re
from pathlib import Path

import pytest

from tests.device import interpreters, sizes
from tests.device.session import Session

# A frame of more words than this is put on the heap at every call.
FRAME_WORDS = 11
HOT = {
    "tracer": ("put_hex", "_boot", "_digits", "_carry", "mark", "force", "_aged", "next"),
    "incoming": ("read", "_check", "next", "read_member"),
    "publish": ("send", "_fill", "_start", "publish", "plain", "__call__"),
    "_json": ("behind_brace",),
    "simple2": ("bare", "close", "_skip", "publish"),
    "mqtt5": ("bare", "close", "publish"),
    "_port_other": ("fill", "by_pairs", "by_digits"),
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
    assert (module, function) in frames, f"{module}.{function} is gone: name here what replaced it"
    assert frames[module, function] <= FRAME_WORDS


@pytest.mark.parametrize("size", sizes.measure(), ids=lambda size: size.module)
def test_a_module_fits_its_budget(size: sizes.Size) -> None:
    assert size.mpy_bytes <= size.budget_bytes


def test_the_table_names_every_module() -> None:
    text = sizes.table(sizes.measure())
    assert all(f"| {path.stem} | " in text for path in sizes.PACKAGE.glob("*.py"))


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
def test_the_compiled_modules_work_in_place_of_the_sources(interpreter: str, tmp_path: Path) -> None:
    package = tmp_path / "motetrace"
    package.mkdir()
    for source in sizes.PACKAGE.glob("*.py"):
        sizes.compile_mpy(source, package / f"{source.stem}.mpy")
    with Session(interpreter) as device:
        device.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
        device.run("import motetrace.mqtt5, motetrace.simple2, motetrace.incoming, motetrace.messages")
        assert device.ask("sys.modules['motetrace.tracer'].__file__").endswith(".mpy")
        device.run("t = motetrace.Tracer()")
        assert re.fullmatch(rb"00-[0-9a-f]{10}00000001[0-9a-f]{14}-[0-9a-f]{8}00000001-03", device.ask("t.next()"))


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
def test_a_tracer_fits_in_a_small_heap(interpreter: str) -> None:
    with Session(interpreter, "-X", "heapsize=64k") as device:
        device.run(
            "import gc, micropython; from motetrace import Tracer; gc.collect(); before = micropython.mem_current()"
        )
        device.run("t = Tracer(); gc.collect()")
        assert device.ask("len(t.next())") == 55
        # mem_current is memory by malloc; gc.mem_alloc is the heap proper.
        assert device.ask("gc.mem_alloc()") < 40_000
