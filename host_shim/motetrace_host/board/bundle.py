"""The files for one board: their names, their bytes, and the flash they take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bundle:
    """What will stand in a board's folder for libraries.

    Attributes:
        files: path in that folder, such as motetrace/tracer.py, to content.
        stale: files there now that would be imported in place of one of these.
    """

    files: Mapping[str, bytes]
    stale: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(map(len, self.files.values()))

    def flash_bytes(self, block_bytes: int) -> int:
        """Flash it takes at most on a file system of such blocks: whole blocks, and two for the folder."""
        return whole_blocks(map(len, self.files.values()), block_bytes) + 2 * block_bytes


def whole_blocks(sizes_bytes: Iterable[int], block_bytes: int) -> int:
    """Flash that files of these sizes take where each begins a block of its own."""
    return sum(-(-size // block_bytes) for size in sizes_bytes) * block_bytes


def stale(files: Iterable[str], present: Iterable[str]) -> tuple[str, ...]:
    """Files to take away: the other form of what is copied. A .py is imported before an .mpy of the same name."""
    stems = {name.rpartition(".")[0]: name for name in files}
    return tuple(
        sorted(name for name in present if stems.get(name.rpartition(".")[0], name) != name and _is_module(name))
    )


def _is_module(name: str) -> bool:
    return name.endswith((".py", ".mpy"))


def modules_present(present: Iterable[str]) -> set[str]:
    """Names of the modules among the files of a folder, without the package's."""
    return {name.rpartition(".")[0].rpartition("/")[2] for name in present if _is_module(name)}
