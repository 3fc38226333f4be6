"""Who may know whom, read from the imports themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"motetrace": ROOT / "device_lib", "motetrace_host": ROOT / "host_shim"}
CORE = "motetrace_host.core"
EDGES = "motetrace_host.edges"
FIRMWARE = "motetrace_host.board.on_device"
# What core may import besides itself: all of it computes, none of it touches the world.
PURE = {
    "__future__", "base64", "binascii", "bisect", "collections", "dataclasses", "enum", "fractions", "functools",
    "hashlib", "hmac", "heapq", "itertools", "json", "math", "msgspec", "operator", "re", "statistics", "string",
    "struct", "textwrap", "types", "typing", "unicodedata",
}  # fmt: skip
# Where opening, reading the clock and the like hide without an import.
IMPURE_BUILTINS = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}


def sources(package: str) -> dict[str, Path]:
    """Modules of one package by their dotted name."""
    base = PACKAGES[package]
    found = {}
    for path in sorted((base / package).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = {name: path for package in PACKAGES for name, path in sources(package).items()}


def imports(name: str, path: Path) -> Iterator[str]:
    """Dotted names of the modules that a module imports, inside functions and TYPE_CHECKING too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                member = f"{base}.{alias.name}"
                yield member if member in MODULES else base


GRAPH = {name: set(imports(name, path)) for name, path in MODULES.items()}


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def members(package: str) -> list[str]:
    return [name for name in MODULES if inside(name, package)]


def test_the_parts_are_where_this_test_looks_for_them() -> None:
    for package in ("motetrace", CORE, EDGES):
        assert members(package), f"no module of {package} found"
    assert "motetrace_host.core.traceparent" in GRAPH["motetrace_host.core.context"]


@pytest.mark.parametrize("name", members(CORE))
def test_core_imports_only_itself_and_what_computes(name: str) -> None:
    strange = {used for used in GRAPH[name] if not inside(used, CORE) and used.partition(".")[0] not in PURE}
    assert not strange, f"{name} imports {sorted(strange)}; take bytes and times as arguments, or move it to edges"


@pytest.mark.parametrize("name", members(CORE))
def test_core_calls_nothing_that_reads_or_writes_the_world(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & IMPURE_BUILTINS


@pytest.mark.parametrize("name", members(EDGES))
def test_edges_never_import_one_another(name: str) -> None:
    others = {used for used in GRAPH[name] if inside(used, EDGES) and used not in (name, EDGES)}
    assert not others, f"{name} imports {sorted(others)}; let app or cli compose them"


@pytest.mark.parametrize("name", members(CORE) + members(EDGES))
def test_core_and_edges_never_import_composition(name: str) -> None:
    allowed = (CORE, EDGES)
    above = {
        used
        for used in GRAPH[name]
        if inside(used, "motetrace_host") and not any(inside(used, part) for part in allowed)
    }
    assert above <= {"motetrace_host"}, f"{name} imports {sorted(above)}"  # the package itself holds __version__


def test_the_device_and_the_host_never_import_each_other() -> None:
    for name in members("motetrace"):
        assert not [used for used in GRAPH[name] if inside(used, "motetrace_host")], name
    for name in members("motetrace_host"):
        if inside(name, FIRMWARE):  # package data: sent to a board as text
            continue
        assert not [used for used in GRAPH[name] if inside(used, "motetrace") or inside(used, FIRMWARE)], name


def test_there_is_no_import_cycle() -> None:
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> None:
        assert name not in trail, "cycle: " + " -> ".join([*trail[trail.index(name) :], name])
        if name in done:
            return
        for used in sorted(GRAPH[name]):
            if used in GRAPH and used != name:
                walk(used, [*trail, name])
        done.add(name)

    for name in GRAPH:
        walk(name, [])


def test_the_host_package_loads_nothing_heavy() -> None:
    assert GRAPH["motetrace_host"] == set()
