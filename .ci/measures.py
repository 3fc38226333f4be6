"""Print how large and how tangled the code is, and fail beyond the limits: `python .ci/measures.py`.

The limits are those of CONTRIBUTING.md: they keep a function on one screen and a class in one head.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HOST = ROOT / "host_shim" / "motetrace_host"
DEVICE = ROOT / "device_lib" / "motetrace"
FUNCTION_LINES, PARAMETERS = 64, 8
HOST_ATTRIBUTES, HOST_FILE_LINES = 14, 400
# On a device a second object costs heap and a second file costs flash: one object has all of a message's state, and a
# file has what one application imports.
DEVICE_ATTRIBUTES, DEVICE_FILE_LINES = 21, 500
HOST_LINES = 25_800  # it may shrink: lower this with it
SHOWN = 5
# Words that make a person of code, or that only their writer understands: none are wanted, in names and in texts.
PRIVATE = re.compile(r"\b(told|heard|unheard|said|patience|nobody|somebody|so many|at wish|whose)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Measure(NamedTuple):
    """One number about one place."""

    value: int
    place: str


class Source(NamedTuple):
    """One file, read."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """How many it has."""
        return len(self.text.splitlines())

    def place(self, node: ast.AST, name: str) -> str:
        """Where something is, as `path:line name`."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {name}"


def sources(folder: Path) -> list[Source]:
    """The Python files of a package."""
    texts = [(path, path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))]
    return [Source(path, text, ast.parse(text)) for path, text in texts]


def function_lines(source: Source) -> Iterator[Measure]:
    """Lines of each function, its decorators apart."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            yield Measure((node.end_lineno or node.lineno) - node.lineno + 1, source.place(node, node.name))


def parameters(source: Source) -> Iterator[Measure]:
    """Parameters of each function, `self` and `cls` apart."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            named = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            yield Measure(len(named) - (named[:1] in (["self"], ["cls"])), source.place(node, node.name))


def attributes(source: Source) -> Iterator[Measure]:
    """Attributes of each class: what its methods set on `self`, and its annotated fields."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ClassDef):
            continue
        names = {
            one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        }
        for inner in ast.walk(node):
            stored = isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
            if stored and isinstance(inner.value, ast.Name) and inner.value.id == "self":
                names.add(inner.attr)
        yield Measure(len(names), source.place(node, node.name))


def clashes(found: list[Source]) -> dict[str, list[str]]:
    """Public classes of one name in several files."""
    places = defaultdict(list)
    for source in found:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(source.place(node, node.name))
    return {name: where for name, where in places.items() if len(where) > 1}


def arrows(found: list[Source]) -> set[tuple[str, str]]:
    """Which folder of the host package imports which other one."""
    pairs = set()
    for source in found:
        parts = source.path.relative_to(HOST).parts
        own = parts[0] if len(parts) > 1 else parts[0].removesuffix(".py")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(HOST.name + "."):
                pairs.add((own, (node.module or "").split(".")[1]))
    return {(one, other) for one, other in pairs if one != other}


def private_words(found: list[Source]) -> Counter[str]:
    """How often each of the words of PRIVATE stands in names, comments and texts; `_` parts words too."""
    return Counter(word for source in found for word in PRIVATE.findall(source.text.replace("_", " ")))


def cycles(crossing: set[tuple[str, str]]) -> list[str]:
    """Folders that import one another, in a ring of any length."""
    found: dict[frozenset[str], str] = {}

    def walk(trail: list[str]) -> None:
        for one, other in sorted(crossing):
            if one == trail[-1] and other in trail:
                ring = trail[trail.index(other) :]
                found.setdefault(frozenset(ring), f"{' -> '.join([*ring, other])}: a ring of imports")
            elif one == trail[-1]:
                walk([*trail, other])

    for start in sorted({one for one, _ in crossing}):
        walk([start])
    return list(found.values())


def report(name: str, found: list[Source], most_attributes: int, most_lines: int) -> list[str]:
    """Print the measures of one package; gives what is beyond a limit."""
    print(f"{name}: {len(found)} files, {sum(source.lines for source in found):,} lines")
    files = [Measure(source.lines, str(source.path.relative_to(ROOT))) for source in found]
    beyond = []
    rows: tuple[tuple[str, list[Measure], int], ...] = (
        ("longest files", files, most_lines),
        ("longest functions", [one for source in found for one in function_lines(source)], FUNCTION_LINES),
        ("most parameters", [one for source in found for one in parameters(source)], PARAMETERS),
        ("most attributes", [one for source in found for one in attributes(source)], most_attributes),
    )
    for title, measures, limit in rows:
        top = sorted(measures, reverse=True)[:SHOWN]
        print(f"  {title} (at most {limit})")
        print("\n".join(f"    {value:>5}  {place}" for value, place in top))
        beyond += [f"{place}: {title}: {value}, at most {limit}" for value, place in measures if value > limit]
    return beyond


def main() -> None:
    """Print the table; exit 1 and name each place beyond a limit."""
    host, device = sources(HOST), sources(DEVICE)
    beyond = report("host package", host, HOST_ATTRIBUTES, HOST_FILE_LINES)
    beyond += report("device library", device, DEVICE_ATTRIBUTES, DEVICE_FILE_LINES)
    total = sum(source.lines for source in host)
    if total > HOST_LINES:
        beyond.append(f"{HOST.relative_to(ROOT)}: {total:,} lines, at most {HOST_LINES:,}")
    beyond += [f"{name} names several classes: {', '.join(where)}" for name, where in sorted(clashes(host).items())]
    crossing = arrows(host)
    print(f"  folders import one another by {len(crossing)} arrows")
    print("\n".join(f"    {own} <- {', '.join(sorted(two))}" for own, two in _by_target(crossing)))
    beyond += cycles(crossing)
    words = private_words([*host, *device])
    print(
        f"  private words: {sum(words.values())}",
        *(f"{count} {word}" for word, count in words.most_common()),
        sep="\n    ",
    )
    if beyond:
        sys.exit("beyond the limits:\n" + "\n".join(f"  {one}" for one in beyond))


def _by_target(crossing: set[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    count = Counter(other for _, other in crossing)
    return [(other, [one for one, two in crossing if two == other]) for other, _ in count.most_common()]


if __name__ == "__main__":
    main()
