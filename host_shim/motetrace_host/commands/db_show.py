"""`motetrace db show`: what is in the database, how large and how old it is, and what bounds it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from motetrace_host.commands.progress import Progress
from motetrace_host.commands.state_folder import DATABASE_NAME, opened, second
from motetrace_host.commands.table import table
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
_SPAN_TIMES: Final = (
    "SELECT (SELECT start_unix_ns FROM span ORDER BY id LIMIT 1) / 1000000,"
    " (SELECT start_unix_ns FROM span ORDER BY id DESC LIMIT 1) / 1000000"
)
_TIMES: Final = (
    ("message_block", "SELECT min(first_unix_ns) / 1000000, max(last_unix_ns) / 1000000 FROM message_block"),
    ("device_boot", "SELECT min(first_seen_unix_ns) / 1000000, max(first_seen_unix_ns) / 1000000 FROM device_boot"),
    ("device_stats", "SELECT min(heard_unix_ms), max(heard_unix_ms) FROM device_stats"),
    ("seen", "SELECT min(last_hour) * 3600000, max(last_hour) * 3600000 FROM seen"),
    ("span", _SPAN_TIMES),
)


def report(folder: Path, progress: Progress) -> tuple[str, int]:
    """Tell about the database of a state folder; the text, and the exit code 0.

    Raises:
        ReportError: no database.
    """
    with opened(folder) as connection:
        lines = list(_lines(connection, folder, progress))
    progress.end()
    return "\n".join(lines) + "\n", 0


def _lines(connection: sqlite3.Connection, folder: Path, progress: Progress) -> Iterator[str]:
    page_bytes, free = _number(connection, "PRAGMA page_size"), _number(connection, "PRAGMA freelist_count")
    whole = page_bytes * _number(connection, "PRAGMA page_count")
    path = folder / DATABASE_NAME
    blocks, messages = connection.execute("SELECT count(*), coalesce(sum(messages), 0) FROM message_block").fetchone()
    yield f"{path}"
    yield f"  file         {size(whole)}, {size(free * page_bytes)} of it free (motetrace db compact gives it back)"
    yield f"  log          {size(_file_bytes(Path(f'{path}-wal')))} of write-ahead log beside it"
    yield f"  schema       version {_number(connection, 'PRAGMA user_version')}"
    yield f"  messages     {messages} in {blocks} blocks"
    yield ""
    with progress.while_waiting(lambda seconds: f"reading all pages, {seconds:.0f} s"):
        tables = table_bytes(connection)
    noted = {"keep": "14", "max_messages": "1000000", "max_spans": "1000000"} | RunSettings(connection).all()
    times = {name: _times(connection, query) for name, query in _TIMES}
    rows = [("table", "rows", "size", "oldest", "newest", "bounded by")]
    for name, used in sorted(tables.items(), key=lambda item: -item[1]):
        progress.tell(f"counting {name}")
        count = _number(connection, f"SELECT count(*) FROM {name}")  # noqa: S608 (a name of our schema)
        oldest, newest = times.get(name, ("", ""))
        rows.append((name, str(count), size(used), oldest, newest, _bound(name, noted)))
    yield from table(rows, (0, 3, 4, 5))


def table_bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of each table and its indexes: what their pages take."""
    query = "SELECT name, tbl_name FROM sqlite_schema WHERE rootpage > 0 AND name NOT LIKE 'sqlite_seq%'"
    owners = dict(connection.execute(query).fetchall())
    used: Counter[str] = Counter(dict.fromkeys(owners.values(), 0))
    try:
        pages = connection.execute("SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = 1 GROUP BY name").fetchall()
    except sqlite3.OperationalError:  # this SQLite was built without dbstat
        return dict(used)
    for name, count in pages:
        if name in owners:
            used[owners[name]] += count
    return dict(used)


def size(number: float) -> str:
    """Bytes for a reader's eyes."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def _bound(name: str, noted: Mapping[str, str]) -> str:
    return _BOUNDS.get(name, "").format_map(noted)


def _times(connection: sqlite3.Connection, query: str) -> tuple[str, str]:
    oldest, newest = connection.execute(query).fetchone()
    return (second(oldest), second(newest)) if oldest is not None else ("", "")


def _file_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _number(connection: sqlite3.Connection, query: str) -> int:
    number: int = connection.execute(query).fetchone()[0]
    return number
