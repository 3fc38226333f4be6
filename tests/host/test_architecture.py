"""Who may know whom, read from the imports themselves."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"motetrace": ROOT / "device_lib", "motetrace_host": ROOT / "host_shim"}
HOST = "motetrace_host"
CORE = "motetrace_host.core"
FIRMWARE = "motetrace_host.board.on_device"
# Which folders of the host package each folder imports. `settings` and `cli` are the files at its root.
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "settings": {"core"},
    "storage": {"core"},
    "network": {"core"},
    "shim": {"core", "settings", "storage", "network"},
    "cluster": {"core", "storage", "shim"},
    "commands": {"core", "settings", "storage", "network", "shim", "cluster", "board"},
    "stages": {"core", "settings", "storage", "network"},
    "functions": {"core", "stages", "otel"},
    "otel": {"core", "stages"},
    "board": {"core"},
    "cli": {"core", "settings", "shim", "commands"},
    "__main__": {"cli"},
}
# Which rooms of core each imports; its files beside the rooms serve all of them and import none.
CORE_ROOMS: dict[str, set[str]] = {
    "mqtt": set(),
    "ledger": set(),
    "spans": set(),
    "wire": {"mqtt", "ledger", "spans"},
    "sampling": {"ledger", "spans", "wire"},
    "messages": {"ledger", "spans", "wire", "sampling"},
    "verdict": {"ledger"},
}
# What core may import besides itself: all of it computes, none of it touches the world.
PURE = {
    "__future__", "base64", "binascii", "bisect", "collections", "contextlib", "dataclasses", "enum", "fractions",
    "functools", "hashlib", "hmac", "heapq", "itertools", "json", "math", "msgspec", "operator", "re", "statistics",
    "string", "struct", "textwrap", "types", "typing", "unicodedata", "urllib.parse",
}  # fmt: skip
# How a statement of SQL begins.
SQL = re.compile(
    r"\s*(SELECT\s|INSERT (OR \w+ )?INTO\s|UPDATE \w+ SET\s|DELETE FROM\s|CREATE (TABLE|INDEX)\s|PRAGMA\s)"
    r"|(VACUUM|BEGIN( \w+)?|COMMIT|ROLLBACK)$"
)
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
    for package in ("motetrace", CORE, HOST):
        assert members(package), f"no module of {package} found"
    assert "motetrace_host.core.wire.traceparent" in GRAPH["motetrace_host.core.wire.context"]


@pytest.mark.parametrize("name", members(CORE))
def test_core_imports_only_itself_and_what_computes(name: str) -> None:
    strange = {
        used for used in GRAPH[name] if not inside(used, CORE) and {used, used.partition(".")[0]}.isdisjoint(PURE)
    }
    assert not strange, f"{name} imports {sorted(strange)}; take bytes and times as arguments, or move it out of core"


@pytest.mark.parametrize("name", members(CORE))
def test_core_calls_nothing_that_reads_or_writes_the_world(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & IMPURE_BUILTINS


def room(name: str) -> str:
    """The folder of a host module, or the name of a file at the package's root."""
    return name.removeprefix(HOST).lstrip(".").partition(".")[0]


def test_every_folder_has_its_place_in_the_table() -> None:
    assert {room(name) for name in members(HOST)} - {""} == set(ROOMS)


@pytest.mark.parametrize("folder", ROOMS)
def test_a_folder_imports_only_those_below_it(folder: str) -> None:
    used = {
        (room(name), room(other), name)
        for name in members(HOST)
        if room(name) == folder and not inside(name, FIRMWARE)
        for other in GRAPH[name]
        if inside(other, HOST) and room(other) not in {"", folder, *ROOMS[folder]}
    }
    assert not used


@pytest.mark.parametrize("name", members(CORE))
def test_each_room_of_core_imports_only_the_rooms_that_are_listed(name: str) -> None:
    def core_room(module: str) -> str:
        first = module.removeprefix(CORE).removeprefix(".").partition(".")[0]
        return first if first in CORE_ROOMS else ""

    own = core_room(name)
    rooms = {core_room(used) for used in GRAPH[name] if inside(used, CORE)} - {"", own}
    assert rooms <= CORE_ROOMS.get(own, set())


def test_every_room_of_core_is_listed() -> None:
    found = {name.split(".")[2] for name in members(CORE) if name.count(".") >= 3}
    assert found == CORE_ROOMS.keys()


@pytest.mark.parametrize("name", [name for name in members(HOST) if room(name) == "network"])
def test_files_that_hold_a_connection_never_import_one_another(name: str) -> None:
    others = {used for used in GRAPH[name] if room(used) == "network" and used not in (name, f"{HOST}.network")}
    assert not others, f"{name} imports {sorted(others)}; let the composition join them"


@pytest.mark.parametrize("name", [name for name in members(HOST) if room(name) != "storage"])
def test_sql_is_in_storage_and_nowhere_else(name: str) -> None:
    """`sqlite3.Connection` may be named elsewhere: parts of a batch hand one on to storage, as `save(connection)`."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in texts if SQL.match(text)]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sqlite3"
    }
    assert used <= {"Connection", "Error"}, "storage opens databases and translates their errors"


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
