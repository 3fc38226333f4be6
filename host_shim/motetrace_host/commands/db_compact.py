"""`motetrace db compact`: gives the disk back what the database does not use any more."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from motetrace_host.commands.db_show import size
from motetrace_host.commands.progress import Progress
from motetrace_host.commands.state_folder import DATABASE_NAME, opened
from motetrace_host.core.errors import OperatorError
from motetrace_host.storage import database, state_folder, upkeep

# SQLite writes the compact database to a temporary file, and from there into the write-ahead log.
_COPIES: Final = 2
_MARGIN_BYTES: Final = 16 * 2**20
_TEMPORARY: Final = "SQLITE_TMPDIR"


def report(folder: Path, progress: Progress) -> tuple[str, int]:
    """Compact the database of a state folder; the text, and the exit code 0.

    Raises:
        OperatorError: no database, a shim runs on it, or the disk has not enough room; nothing has changed then.
        StoreError: SQLite refused; nothing has changed.
    """
    with opened(folder) as connection, alone(folder):
        page_bytes, pages, free = upkeep.pages(connection)
        if not free:
            return f"{folder / DATABASE_NAME}: {size(pages * page_bytes)}, nothing to give back\n", 0
        needed = (pages - free) * page_bytes
        _require_room(folder, needed)
        path = folder / DATABASE_NAME
        before = path.stat().st_size
        _vacuum(connection, folder, needed, progress)
        left = _truncate(connection)
    after = path.stat().st_size
    text = f"{path}: {size(before)} before, {size(after)} now, {size(max(0, before - after))} given back\n"
    return text + left, 0


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep shims off a state folder meanwhile.

    Raises:
        OperatorError: one runs on it.
    """
    try:
        lock = state_folder.take(folder)
    except OperatorError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise OperatorError(str(error)) from error
        owner = str(error).partition("(process ")[2].partition(")")[0] or "unknown"
        raise OperatorError(
            f"a shim runs on the state folder {folder} (process {owner}); stop it, do this, and start it again: "
            "the broker keeps its messages meanwhile (--session-expiry)"
        ) from error
    with lock:
        yield


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < _COPIES * needed + _MARGIN_BYTES:
        raise OperatorError(
            f"compacting needs {size(_COPIES * needed + _MARGIN_BYTES)} free on the disk of {folder}, and {size(free)} "
            "are; free some, or lower --keep, --max-messages or --max-spans, whose room is used again without this"
        )


def _vacuum(connection: sqlite3.Connection, folder: Path, needed: int, progress: Progress) -> None:
    log = Path(f"{folder / DATABASE_NAME}-wal")

    def text(seconds: float) -> str:
        written = log.stat().st_size if log.exists() else 0
        step = f"writing back {min(1.0, written / max(1, needed)):4.0%}" if written > _MARGIN_BYTES else "copying"
        return f"compacting to {size(needed)}: {step}, {seconds:.0f} s"

    before = os.environ.get(_TEMPORARY)
    os.environ[_TEMPORARY] = str(folder)  # else the copy goes to a disk whose room nobody looked at
    try:
        with progress.while_waiting(text), database.translated(folder / DATABASE_NAME):
            upkeep.truncate_log(connection)
            upkeep.vacuum(connection)
    finally:
        if before is None:
            del os.environ[_TEMPORARY]
        else:
            os.environ[_TEMPORARY] = before


def _truncate(connection: sqlite3.Connection) -> str:
    """Bring the log into the file, which shrinks then; says so when somebody reads, so that it could not."""
    if upkeep.truncate_log(connection):
        return ""
    return "  another motetrace reads it: the file shrinks when that has ended, at the next start of the shim\n"
