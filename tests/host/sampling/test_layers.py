"""Who may know whom inside motetrace_host.sampling, read from the imports."""

import ast

import parts
import pytest

SAMPLING = parts.ROOT / "host_shim" / "motetrace_host" / "sampling"
PURE = ("answer", "collector_config", "duration", "sampling_error", "shim_view", "why", "words")
COMPUTES = {"__future__", "collections", "dataclasses", "enum", "fractions", "json", "re", "textwrap", "typing"}
OWN = "motetrace_host.sampling."


def imports(nodes: list[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tree(name: str) -> ast.Module:
    return ast.parse((SAMPLING / f"{name}.py").read_text())


@pytest.mark.parametrize("name", PURE)
def test_what_computes_touches_nothing(name: str) -> None:
    for used in imports(list(ast.walk(tree(name)))):
        is_pure = used.startswith(OWN) and used.removeprefix(OWN).split(".")[0] in PURE
        assert is_pure or used.startswith("motetrace_host.core.") or used.split(".")[0] in COMPUTES, used


def test_the_commands_load_nothing_but_click_before_they_run() -> None:
    outside = [node for node in tree("commands").body if not isinstance(node, ast.If)]  # if TYPE_CHECKING
    used = imports(outside) - {"motetrace_host.state_option.state_option"}  # which loads click too, and nothing else
    assert {each.split(".")[0] for each in used} <= {"__future__", "collections", "pathlib", "sys", "typing", "click"}


def test_the_edge_knows_the_core_and_its_error_only() -> None:
    known = {used for used in imports(list(ast.walk(tree("edges/broker")))) if used.startswith("motetrace_host")}
    assert all(used.startswith(("motetrace_host.core.", OWN + "sampling_error.")) for used in known), known


def test_nothing_else_of_the_host_package_knows_these_commands_but_the_command_line() -> None:
    for path in SAMPLING.parent.rglob("*.py"):
        if SAMPLING not in path.parents and path.parent.name != "reports" and path.name != "cli.py":
            assert not any(used.startswith(OWN) for used in imports(list(ast.walk(ast.parse(path.read_text()))))), path
