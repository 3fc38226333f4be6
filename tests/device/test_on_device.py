"""The files of on_device/ on every interpreter: each function there is one test here, per interpreter.

A file says `INTERPRETERS = (...)` when it needs what only MicroPython has (heap figures, non-blocking streams).
"""

import ast
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device import interpreters

FILES = sorted((Path(__file__).resolve().parent / "on_device").glob("*.py"))


def _cases() -> Iterator[object]:
    for path in FILES:
        names = interpreters.NAMES
        tree = ast.parse(path.read_text(encoding="utf-8")).body
        for node in tree:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "INTERPRETERS":
                names = ast.literal_eval(node.value)
        for node in tree:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for name in names:
                    yield pytest.param(name, path, node.name, id=f"{path.stem}-{node.name}-{name}")


@functools.cache
def _outcomes(interpreter: str, path: Path) -> dict[str, str]:
    """Trace of each test ("" when it passed), and under the name "" all that the process said."""
    done = interpreters.run(interpreter, Path(__file__).with_name("runner.py"), path)
    outcomes = {"": f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            answer = json.loads(line)
            if answer["test"]:
                outcomes[answer["test"]] = "" if answer["ok"] else answer["trace"] or "no trace"
    return outcomes


@pytest.mark.parametrize(("interpreter", "path", "test"), list(_cases()))
def test_on_device(interpreter: str, path: Path, test: str) -> None:
    outcomes = _outcomes(interpreter, path)
    assert test in outcomes, outcomes[""]
    assert not outcomes[test], outcomes[test]


def test_each_file_says_in_ast_what_runs_it() -> None:
    assert {path.stem for path in FILES} >= {"tracer", "heap", "incoming", "boards", "publish"}
    assert {case.values[0] for case in _cases()} == set(interpreters.NAMES)  # type: ignore[attr-defined]
