"""What CircuitPython lacks, and whether a source of the device library uses it: read from the source, not run.

The set of modules is that of CircuitPython 9 and 10 on boards with 2 MB of flash and more. Passed over is what the code
itself takes care of: what stands in a `try` that catches ImportError or AttributeError, and, for `lacks` and `fit`, an
import inside a function, made when a caller asks for that board's part (`imported_when_called` lists those).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from motetrace_host.board import modules

BUILT_IN = frozenset({
    "aesio", "alarm", "array", "binascii", "board", "builtins", "collections", "errno", "gc", "hashlib", "io", "json",
    "math", "microcontroller", "micropython", "os", "random", "re", "select", "struct", "supervisor", "sys", "time",
    "traceback", "wifi",
})  # fmt: skip
# From circup, when the user's client needs them.
LIBRARIES = frozenset({"adafruit_minimqtt", "adafruit_ticks", "asyncio"})
# Names that exist in MicroPython's module and not, or not all, in CircuitPython's; a set: what there is instead.
_ONLY = {
    "micropython": frozenset({"const"}),
    "time": frozenset({"localtime", "mktime", "monotonic", "monotonic_ns", "sleep", "struct_time", "time"}),
    "hashlib": frozenset({"new"}),
    "os": frozenset({
        "chdir", "getcwd", "getenv", "listdir", "mkdir", "remove", "rename", "rmdir", "sep", "stat", "statvfs", "sync",
        "uname", "unlink", "urandom", "utime",
    }),
}  # fmt: skip
_NOT_IN_SYS = frozenset({"print_exception", "print_exc", "settrace", "ps1", "ps2"})
_LATER_SYNTAX: tuple[tuple[type[ast.AST], str], ...] = (
    (ast.Match, "match statement"),
    (ast.TryStar, "except*"),
    (ast.NamedExpr, "assignment expression"),
)


def fit(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """What each module lacks on CircuitPython, for itself or because of a module that it needs; [] when it fits.

    Args:
        sources: module name to source, the whole library.
    """
    own = {name: lacks(source) for name, source in sources.items()}
    needs = {name: modules.imported(always(source)) & sources.keys() for name, source in sources.items()}
    found = {}
    for name in sources:
        todo, seen = [name], set[str]()
        while todo:
            used = todo.pop()
            if used not in seen:
                seen.add(used)
                todo += needs[used]
        found[name] = [
            f"{reason} (in {used})" if used != name else reason for used in sorted(seen) for reason in own[used]
        ]
    return found


def always(source: str) -> str:
    """The imports that are made whenever a source is loaded, as a source."""
    loaded = _unguarded(ast.parse(source), into_functions=False)
    return "\n".join(ast.unparse(node) for node in loaded if _is_import(node))


def lacks(source: str) -> list[str]:
    """What a source uses that CircuitPython does not have, as "line 12: time.ticks_us"; [] when nothing."""
    tree = ast.parse(source)
    nodes = [node for node in _unguarded(tree) if not _is_import(node)]
    nodes += [node for node in _unguarded(tree, into_functions=False) if _is_import(node)]
    found = {(getattr(node, "lineno", 0), what) for node in nodes for what in _missing(node)}
    return [f"line {line}: {what}" for line, what in sorted(found)]


def imported_when_called(source: str) -> set[str]:
    """Modules that CircuitPython lacks and that a function of a source imports without taking care."""
    tree = ast.parse(source)
    loaded = set(map(id, _unguarded(tree, into_functions=False)))
    return {what for node in _unguarded(tree) if _is_import(node) and id(node) not in loaded for what in _missing(node)}


def hostile_syntax(source: str) -> list[str]:
    """What CircuitPython's compiler refuses, wherever it stands: such a file must not be in a package at all."""
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [(getattr(node, "lineno", 0), what) for what in _refused(node)]
    return [f"line {line}: {what}" for line, what in sorted(set(found))]


def _missing(node: ast.AST) -> Iterator[str]:
    yield from _refused(node)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if not _there(alias.name))
    elif isinstance(node, ast.ImportFrom) and not node.level:
        module = node.module or ""
        if not _there(module):
            yield module
        else:
            yield from (f"{module}.{alias.name}" for alias in node.names if not _has(module, alias.name))
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and not _has(node.value.id, node.attr):
        yield f"{node.value.id}.{node.attr}"


def _refused(node: ast.AST) -> Iterator[str]:
    for kind, name in _LATER_SYNTAX:
        if isinstance(node, kind):
            yield name
    if isinstance(node, ast.arguments) and node.posonlyargs:
        yield "positional-only parameters"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for mark in map(ast.unparse, node.decorator_list):
            if mark.startswith("micropython."):
                yield f"@{mark}"


def _unguarded(tree: ast.AST, into_functions: bool = True) -> Iterator[ast.AST]:
    """All nodes but those in the body of a try that catches ImportError, AttributeError or everything."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Try) and any(_cares(handler) for handler in child.handlers):
            for part in (*child.handlers, *child.orelse, *child.finalbody):
                yield from _unguarded(part, into_functions)
        elif into_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _unguarded(child, into_functions)


def _cares(handler: ast.ExceptHandler) -> bool:
    caught = "everything" if handler.type is None else ast.unparse(handler.type)
    return any(name in caught for name in ("ImportError", "AttributeError", "Exception", "everything"))


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _there(module: str) -> bool:
    top = module.partition(".")[0]
    return top in BUILT_IN or top in LIBRARIES or top == modules.PACKAGE


def _has(module: str, name: str) -> bool:
    if module == "sys":
        return name not in _NOT_IN_SYS
    return module not in _ONLY or name in _ONLY[module]
