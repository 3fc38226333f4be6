"""The database as a file: its pages, its tables' sizes and ages, SQLite's own check, and what our tables must obey."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Final, NamedTuple

from motetrace_host.storage.database import integer

_SPAN_TIMES: Final = (
    "SELECT (SELECT start_unix_ns FROM span ORDER BY id LIMIT 1) / 1000000,"
    " (SELECT start_unix_ns FROM span ORDER BY id DESC LIMIT 1) / 1000000"
)
_TIMES: Final = (  # oldest and newest, Unix ms
    ("message_block", "SELECT min(first_unix_ns) / 1000000, max(last_unix_ns) / 1000000 FROM message_block"),
    ("device_boot", "SELECT min(first_seen_unix_ns) / 1000000, max(first_seen_unix_ns) / 1000000 FROM device_boot"),
    ("device_stats", "SELECT min(heard_unix_ms), max(heard_unix_ms) FROM device_stats"),
    ("seen", "SELECT min(last_hour) * 3600000, max(last_hour) * 3600000 FROM seen"),
    ("span", _SPAN_TIMES),
)


class Pages(NamedTuple):
    """What the file consists of."""

    page_bytes: int
    pages: int
    free: int


def pages(connection: sqlite3.Connection) -> Pages:
    """Bytes of a page, pages, and how many of them are free."""
    return Pages(*(integer(connection, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count")))


def checkpoint_rarely(connection: sqlite3.Connection) -> None:
    """Let the write-ahead log grow to about 32 MiB (8000 pages of 4 KiB): rare and large checkpoints cost least."""
    connection.execute("PRAGMA wal_autocheckpoint=8000")


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Bring the write-ahead log into the file; False when somebody reads, so that not all of it could be brought."""
    return not integer(connection, "PRAGMA wal_checkpoint(TRUNCATE)")


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew without its free pages."""
    connection.execute("VACUUM")


def rows(connection: sqlite3.Connection, table: str) -> int:
    """How many rows a table of our schema has."""
    return integer(connection, f"SELECT count(*) FROM {table}")


def times(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """The oldest and the newest time (Unix ms) in the tables that have times, where they have rows."""
    found = {name: connection.execute(query).fetchone() for name, query in _TIMES}
    return {name: (oldest, newest) for name, (oldest, newest) in found.items() if oldest is not None}


def table_bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of each table and its indexes: what their pages take."""
    query = "SELECT name, tbl_name FROM sqlite_schema WHERE rootpage > 0 AND name NOT LIKE 'sqlite_seq%'"
    owners = dict(connection.execute(query).fetchall())
    used: Counter[str] = Counter(dict.fromkeys(owners.values(), 0))
    try:
        sizes = connection.execute("SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = 1 GROUP BY name").fetchall()
    except sqlite3.OperationalError:  # this SQLite was built without dbstat
        return dict(used)
    for name, size in sizes:
        if name in owners:
            used[owners[name]] += size
    return dict(used)


def file_faults(connection: sqlite3.Connection, limit: int) -> list[str]:
    """What SQLite's own check finds, at most `limit` faults."""
    try:
        found = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
    except sqlite3.DatabaseError as error:
        found = [(str(error),)]
    return [fault for (fault,) in found if fault != "ok"]


def highest_id(connection: sqlite3.Connection, table: str) -> int:
    """The highest id that a table with AUTOINCREMENT ever gave; 0 when it gave none."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def spans_without_resource(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Ids of resources that spans name and that do not exist, and how many spans do."""
    return connection.execute(
        "SELECT resource_id, count(*) FROM span WHERE NOT EXISTS"
        " (SELECT 1 FROM resource WHERE resource.id = span.resource_id) GROUP BY resource_id"
    ).fetchall()


def blocks_decided_twice(connection: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """Blocks for which the tail has more decisions than messages: id, decisions, messages."""
    return connection.execute(
        "SELECT block_id, length(reasons), messages FROM verdict JOIN message_block ON id = block_id"
        " WHERE length(reasons) > messages"
    ).fetchall()
