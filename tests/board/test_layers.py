"""Who may know whom inside motetrace_host.board, read from the imports."""

import ast
from pathlib import Path

import parts
import pytest

BOARD = parts.ROOT / "host_shim" / "motetrace_host" / "board"
PURE = ("board_error", "modules", "circuitpython", "known_boards", "survey", "self_test", "port", "bundle")
ERRORS = "motetrace_host.core.errors"
COMPUTES = {"__future__", "ast", "collections", "dataclasses", "json", "msgspec", "re", "typing"}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", PURE)
def test_what_computes_touches_nothing(name: str) -> None:
    for used in imports(BOARD / f"{name}.py"):
        own = used.removeprefix("motetrace_host.board.").split(".")[0]
        assert own in PURE or used.startswith(ERRORS) or used.split(".")[0] in COMPUTES, used


@pytest.mark.parametrize("path", sorted((BOARD / "edges").glob("*.py")), ids=lambda path: path.stem)
def test_edges_never_import_one_another(path: Path) -> None:
    for used in imports(path):
        assert not used.startswith("motetrace_host.board.edges"), used
        if used.startswith("motetrace_host.board."):
            assert used.split(".")[2] in PURE, used


def test_nothing_else_of_the_host_package_imports_boards_but_the_command() -> None:
    for path in BOARD.parent.rglob("*.py"):
        if BOARD not in path.parents and path != BOARD.parent / "commands" / "device.py":
            assert not any(used.startswith("motetrace_host.board") for used in imports(path)), path
