"""The optional machine code: all that a tracer promises holds with it, for every architecture it is compiled for."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.device import accelerator, interpreters
from tests.device.session import Session

HERE = Path(__file__).resolve().parent
PROMISES = ("tracer", "golden", "heap", "incoming", "boards")


def environment(*folders: Path) -> dict[str, str]:
    path = os.pathsep.join((*map(str, folders), interpreters.environment()["MICROPYPATH"]))
    return {**interpreters.environment(), "MICROPYPATH": path}


def run(interpreter: str, folder: Path, *words: str | Path) -> str:
    command = [*interpreters.command(interpreter), "-X", "heapsize=32m", *map(str, words)]
    return subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, timeout=100, check=True
    ).stdout


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
@pytest.mark.parametrize("promises", PROMISES)
def test_every_promise_of_the_tracer_holds_in_machine_code(interpreter: str, promises: str) -> None:
    said = run(interpreter, accelerator.FOLDER, HERE / "runner.py", HERE / "on_device" / f"{promises}.py")
    outcomes = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert outcomes
    assert not [outcome for outcome in outcomes if not outcome["ok"]]


@pytest.mark.parametrize(("interpreter", "architecture"), [("micropython64", "x64"), ("micropython32", "x86")])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the interpreters of another machine run other code")
def test_it_is_used_as_mpy_when_it_is_there(interpreter: str, architecture: str, tmp_path: Path) -> None:
    accelerator.compile_mpy(architecture, tmp_path)
    code = "import motetrace, motetrace_fast as f; print(motetrace.Tracer.next is f.next, f.__file__[-4:])"
    assert run(interpreter, tmp_path, "-c", code).split() == ["True", ".mpy"]
    assert run(interpreter, tmp_path, "-c", "from motetrace import Tracer; print(len(Tracer().next()))").strip() == "55"


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
@pytest.mark.parametrize("content", [None, b"", b"not an .mpy file at all"])
def test_one_that_cannot_be_loaded_is_as_if_it_were_not_there(
    interpreter: str, content: bytes | None, tmp_path: Path
) -> None:
    if content is None:
        accelerator.compile_mpy("xtensawin", tmp_path)
    else:
        (tmp_path / "motetrace_fast.mpy").write_bytes(content)
    code = "from motetrace import Tracer; t = Tracer(); t.next(); print(len(t.next()), t.seq())"
    assert run(interpreter, tmp_path, "-c", code).split() == ["55", "2"]


@pytest.mark.parametrize("architecture", accelerator.ARCHITECTURES)
def test_it_compiles_for_every_board_and_stays_small(architecture: str, tmp_path: Path) -> None:
    assert accelerator.compile_mpy(architecture, tmp_path).stat().st_size <= accelerator.BUDGET_BYTES


@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_nothing_needs_it(interpreter: str) -> None:
    with Session(interpreter) as device:
        device.run("import sys; from motetrace import Tracer")
        assert device.ask("'motetrace_fast' in sys.modules") is False
        assert device.ask("len(Tracer().next())") == 55


def test_no_file_of_the_package_holds_machine_code_or_asks_for_it() -> None:
    package = interpreters.DEVICE_LIB / "motetrace"
    assert accelerator.FOLDER not in package.parents and package not in accelerator.FOLDER.parents
    for source in package.glob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert "viper" not in text and "@micropython" not in text, source.name
