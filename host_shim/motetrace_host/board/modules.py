"""The device library's modules and which of them an extra needs, read from their own imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from motetrace_host.board.board_error import BoardError

PACKAGE = "motetrace"
ROOT = "__init__"
ACCELERATOR = "motetrace_fast"
# Brought by other modules, and asked for by people too.
_ALSO_FOR_PEOPLE = frozenset({"payload", "messages", "simple"})
ALIASES = {"json": "simple2", "commands": "incoming"}
_NATIVE = re.compile(r"^\s*@micropython\.(viper|native|asm_\w+)", re.MULTILINE)


def core(sources: Mapping[str, str]) -> list[str]:
    """Modules that every board gets: what `import motetrace` loads or may load."""
    return closure(sources, ())


def extras(sources: Mapping[str, str]) -> dict[str, str]:
    """What `--with` takes: names, and the first sentence that the module says of itself."""
    every = set(core(sources))
    return {
        name: first_sentence(source)
        for name, source in sorted(sources.items())
        if name not in every and not name.startswith("_")
    }


def closure(sources: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    """The modules that `wanted` and the package itself need, in alphabetical order.

    Args:
        sources: module name ("tracer", "__init__") to its source.
        wanted: names or aliases of extras.
    Raises:
        BoardError: a name is not an extra; lists what there is.
    """
    todo = [ROOT, *(_named(sources, name) for name in wanted)]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(used for used in imported(sources[name]) if used in sources and not native(sources[used]))
    return sorted(found)


def imported(source: str) -> set[str]:
    """Modules of the library that a source imports, inside functions too."""
    return {name.removeprefix(f"{PACKAGE}.") for name in _imports(ast.parse(source)) if name.startswith(f"{PACKAGE}.")}


def foreign(source: str) -> set[str]:
    """Modules that are not the library's and that a source imports when it is loaded, such as umqtt.simple2."""
    tree = ast.parse(source)
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    return {name for name in _imports(top) if name.partition(".")[0] != PACKAGE and not name.startswith(".")}


def native(source: str) -> bool:
    """Whether a source holds machine code for one architecture, which only an .mpy can carry."""
    return _NATIVE.search(source) is not None


def first_sentence(source: str) -> str:
    """What a module is, in its own words."""
    text = ast.get_docstring(ast.parse(source)) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or "" if not node.level else f"{PACKAGE}.{node.module or ''}".rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def listed(sources: Mapping[str, str]) -> dict[str, str]:
    """The extras that people ask for: those that no other module of the library brings with it."""
    brought = {used for name, source in sources.items() for used in imported(source) if used != name} - _ALSO_FOR_PEOPLE
    return {name: words for name, words in extras(sources).items() if name not in brought}


def _named(sources: Mapping[str, str], name: str) -> str:
    module = ALIASES.get(name, name)
    if module not in extras(sources):
        listing = "\n".join(f"  {extra:14} {words}" for extra, words in listed(sources).items())
        raise BoardError(
            f"no extra named {name!r} to put on a board; there are:\n{listing}\n"
            "  fast           Machine code for Tracer.next(), compiled for the board (MicroPython only)."
        )
    return module
