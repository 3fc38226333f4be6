"""`motetrace db show`: what is in the database, how large and how old it is, and what bounds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from motetrace_host.commands.progress import Progress
from motetrace_host.commands.state_folder import DATABASE_NAME, opened, second
from motetrace_host.commands.table import table
from motetrace_host.storage import database, upkeep
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.run_settings import RunSettings

_BOUNDS: Final = {
    "message_block": "--keep {keep} days, --max-messages {max_messages}",
    "span": "--keep {keep} days, --max-spans {max_spans}",
    "seen": "--keep {keep} days, 2000000 rows",
    "device_boot": "--keep {keep} days, 100000 rows",
    "device_stats": "--keep {keep} days, 100000 rows",
    "delivery": "as the messages",
    "resource": "as the spans",
    "seen_log": "folded into seen",
    "place": "1000000 rows",
    "broker_drop": "20000 rows",
    "hop_report": "4096 rows",
    "rejection": "10000 devices",
    "clone": "--keep {keep} days",
}


def report(folder: Path, progress: Progress) -> tuple[str, int]:
    """Tell about the database of a state folder; the text, and the exit code 0.

    Raises:
        OperatorError: no database.
    """
    with opened(folder) as connection:
        lines = list(_lines(connection, folder, progress))
    progress.end()
    return "\n".join(lines) + "\n", 0


def _lines(connection: sqlite3.Connection, folder: Path, progress: Progress) -> Iterator[str]:
    page_bytes, pages, free = upkeep.pages(connection)
    path = folder / DATABASE_NAME
    yield f"{path}"
    whole, unused = size(pages * page_bytes), size(free * page_bytes)
    yield f"  file         {whole}, {unused} of it free (motetrace db compact gives it back)"
    yield f"  log          {size(_file_bytes(Path(f'{path}-wal')))} of write-ahead log beside it"
    yield f"  schema       version {database.schema_version(connection)}"
    yield f"  messages     {MessageLog(connection).count()} in {upkeep.rows(connection, 'message_block')} blocks"
    yield ""
    with progress.while_waiting(lambda seconds: f"reading all pages, {seconds:.0f} s"):
        tables = upkeep.table_bytes(connection)
    noted = {"keep": "14", "max_messages": "1000000", "max_spans": "1000000"} | RunSettings(connection).all()
    times = {name: (second(oldest), second(newest)) for name, (oldest, newest) in upkeep.times(connection).items()}
    rows = [("table", "rows", "size", "oldest", "newest", "bounded by")]
    for name, used in sorted(tables.items(), key=lambda item: -item[1]):
        progress.tell(f"counting {name}")
        count = upkeep.rows(connection, name)
        oldest, newest = times.get(name, ("", ""))
        rows.append((name, str(count), size(used), oldest, newest, _bound(name, noted)))
    yield from table(rows, (0, 3, 4, 5))


def size(number: float) -> str:
    """Bytes for a reader's eyes."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def _bound(name: str, noted: Mapping[str, str]) -> str:
    return _BOUNDS.get(name, "").format_map(noted)


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
