"""The drive that a CircuitPython board shows on USB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from motetrace_host.board.board_error import BoardError

LABEL = "CIRCUITPY"
_IDENTITY = "boot_out.txt"
_MOUNTS = ("/media/*", "/media", "/run/media/*", "/Volumes", "/mnt")


def mounted() -> list[Path]:
    """Drives with CircuitPython's label where systems mount them."""
    found = [path for pattern in _MOUNTS for path in Path("/").glob(f"{pattern[1:]}/{LABEL}")]
    return sorted({path for path in found if (path / _IDENTITY).is_file()})


def identity(drive: Path) -> str:
    """What the board wrote about itself at its start.

    Raises:
        BoardError: this is no CircuitPython drive.
    """
    try:
        return (drive / _IDENTITY).read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError) as error:
        raise BoardError(
            f"{drive} is no CircuitPython drive: it has no {_IDENTITY}. The drive is called {LABEL}; a board in its "
            "boot loader shows another one (RPI-RP2, ...BOOT): put CircuitPython on it first"
        ) from error


def room(drive: Path) -> tuple[int, int]:
    """(free bytes, bytes of a block) of its file system."""
    block = os.statvfs(drive).f_frsize if hasattr(os, "statvfs") else 512
    return shutil.disk_usage(drive).free, block


def present(drive: Path, target: str) -> dict[str, int]:
    """The library's files in a folder of it, as motetrace/tracer.py, and their sizes."""
    folder = drive / target
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.glob("motetrace/*.*"))}


def copy(drive: Path, target: str, files: Mapping[str, bytes], stale: Sequence[str]) -> None:
    """Write files into a folder of the drive, and see to it that they are on the board before this returns.

    Raises:
        BoardError: the drive cannot be written; says why that may be.
    """
    folder = drive / target
    try:
        for name in stale:
            (folder / name).unlink()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise BoardError(
            f"{error.filename or folder} cannot be written: {error.strerror}. The board keeps the drive read-only "
            "while its own code may write to it (storage.remount in boot.py); after an unsafe removal, eject it and "
            "plug it in again"
        ) from error
