"""Writes the table of boards/README.md and the line of costs on each board's page, from boards.toml and from measuring.

    python boards/table.py            write them anew
    python boards/table.py --check    say which are stale, and change nothing

Sizes are exact and must agree to the byte; RAM is measured on a 32-bit interpreter and may differ by a tenth.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "boards"
sys.path[:0] = [str(ROOT / "host_shim"), str(ROOT / "device_lib"), str(ROOT / ".ci")]

import parts  # noqa: E402

from motetrace_host.board import modules  # noqa: E402
from motetrace_host.board.edges import device_library, mpy_cross  # noqa: E402

RENEW = "python boards/table.py"
RAM_TOLERANCE = 0.1
COLUMNS = {
    "title": "board",
    "firmware": "written for",
    "client": "MQTT client in it",
    "aes": "AES",
    "entropy": "entropy",
    "survives_reset": "outlives a reset",
    "ticks_bits": "ticks wrap at",
}
BEGIN, END = "<!-- made by boards/table.py -->\n", "<!-- end -->"
_NUMBER = re.compile(r"~(\d+\.\d) kB")


@dataclass(frozen=True, slots=True)
class Cost:
    """What some extras and the core take. RAM in bytes of heap on a 32-bit interpreter; None where it is not known."""

    core_bytes: int
    all_bytes: int
    core_ram_bytes: int | None
    tracer_ram_bytes: int | None
    extras_ram_bytes: int | None


def boards() -> dict[str, dict[str, Any]]:
    """boards.toml, by name of page."""
    return tomllib.loads((BOARDS / "boards.toml").read_text(encoding="utf-8"))


@functools.cache
def cost(extras: tuple[str, ...], compiled: bool) -> Cost:
    """Measure the core and some extras, as .mpy files or as sources."""
    sources = device_library.sources()
    content = {
        name: mpy_cross.compile_source(source, f"motetrace/{name}.py") if compiled else source.encode()
        for name, source in sources.items()
    }
    core_bytes = sum(len(content[name]) for name in modules.core(sources))
    names = modules.closure(sources, extras)
    all_bytes = sum(len(content[name]) for name in names)
    if not compiled:
        return Cost(core_bytes, all_bytes, None, None, None)
    foreign = sorted({name for extra in names for name in modules.foreign(sources[extra]) if name == "umqtt.simple2"})
    ram = _ram(content, names, foreign, extras)
    return Cost(core_bytes, all_bytes, ram["core"], ram["tracer"], ram["extras"])


def _ram(content: dict[str, bytes], names: list[str], foreign: list[str], extras: tuple[str, ...]) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / modules.PACKAGE
        package.mkdir()
        for name in names:
            (package / f"{name}.mpy").write_bytes(content[name])
        words = [*parts.micropython(32), "-X", "heapsize=128k", str(BOARDS / "ram.py"), *foreign]
        done = subprocess.run(
            [*words, *(f"{modules.PACKAGE}.{name}" for name in extras)],
            env={**os.environ, "MICROPYPATH": f"{folder}:{parts.simple2()}"},
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def table() -> str:
    """The table of all boards."""
    heads = [*COLUMNS.values(), "flash: core, and with"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, board in boards().items():
        cells = [str(board[key]) for key in COLUMNS]
        cells[0] = f"[{cells[0]}]({name}.md)"
        cells[-1] = f"2^{cells[-1]} ms"
        found = _cost_of(name, board)
        extras = ",".join(board["extras"])
        lines.append(f"| {' | '.join(cells)} | {found.core_bytes}, {found.all_bytes} `{extras}` |")
    return "\n".join(lines) + "\n"


def line(name: str, board: dict[str, Any]) -> str:
    """What motetrace costs on one board, in words."""
    found = _cost_of(name, board)
    extras = ",".join(board["extras"])
    if found.core_ram_bytes is None or found.tracer_ram_bytes is None or found.extras_ram_bytes is None:
        return _wrapped(
            f"Costs: {found.core_bytes} bytes of flash for the core, {found.all_bytes} with `{extras}`, as sources; "
            "RAM is not known, as they are compiled on the board: `motetrace device check` measures it there."
        )
    return _wrapped(
        f"Costs: {found.core_bytes} bytes of flash for the core, {found.all_bytes} with `{extras}`, as .mpy; of RAM "
        f"{_kb(found.core_ram_bytes)} for the core, {_kb(found.tracer_ram_bytes)} for a Tracer, "
        f"{_kb(found.extras_ram_bytes)} more for `{extras}` (measured on a 32-bit interpreter, not on the board)."
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False) + "\n"


def _cost_of(name: str, board: dict[str, Any]) -> Cost:
    return cost(tuple(board["extras"]), not name.startswith("circuitpython"))


def _kb(size_bytes: int) -> str:
    return f"~{size_bytes / 1024:.1f} kB"


def pages() -> dict[Path, str]:
    """Each page, with what is made here as it should be."""
    made = {BOARDS / "README.md": table()}
    made |= {BOARDS / f"{name}.md": line(name, board) for name, board in boards().items()}
    return {path: _with(path.read_text(encoding="utf-8"), part) for path, part in made.items()}


def _with(page: str, part: str) -> str:
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"a page lacks the lines {BEGIN.strip()} and {END}; it begins {page[:40]!r}")
    return head + BEGIN + part + END + tail


def same(old: str, new: str) -> bool:
    """Whether two pages say the same, RAM within its tolerance."""
    if _NUMBER.sub("", old).split() != _NUMBER.sub("", new).split():
        return False
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    return all(abs(float(a) - float(b)) <= max(0.1, RAM_TOLERANCE * float(b)) + 1e-9 for a, b in pairs)


def stale() -> list[str]:
    """Names of the pages that are not as they should be."""
    return [path.name for path, wanted in pages().items() if not same(path.read_text(encoding="utf-8"), wanted)]


def main(arguments: list[str]) -> int:
    """Write or check; 1 when --check finds one stale."""
    if "--check" in arguments:
        old = stale()
        for name in old:
            print(f"boards/{name} is stale; renew it: {RENEW}")
        return int(bool(old))
    for path, wanted in pages().items():
        if path.read_text(encoding="utf-8") != wanted:
            path.write_text(wanted, encoding="utf-8")
            print(f"wrote boards/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
