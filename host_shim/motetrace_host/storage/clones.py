"""Device ids under which two devices were noticed, in the one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple


class CloneRow(NamedTuple):
    """One device id: the pair of boots told last, how often one was told, and when first and last (Unix ms)."""

    device_id: str
    older: bytes
    newer: bytes
    times: int
    first_unix_ms: int
    last_unix_ms: int


def add(connection: sqlite3.Connection, told: Iterable[CloneRow]) -> None:
    """Write what was told; belongs into a transaction. A row that is there counts on."""
    connection.executemany(
        "INSERT INTO clone VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET older = excluded.older, "
        "newer = excluded.newer, times = times + excluded.times, "
        "last_unix_ms = max(last_unix_ms, excluded.last_unix_ms)",
        told,
    )


def read(connection: sqlite3.Connection, device_id: str | None = None) -> dict[str, CloneRow]:
    """What was told, of one device id or of all."""
    rows = connection.execute("SELECT * FROM clone WHERE ?1 IS NULL OR device_id = ?1", (device_id,))
    return {row[0]: CloneRow(*row) for row in rows}


def trim(connection: sqlite3.Connection, last_unix_ms: int, limit: int = 2_000) -> int:
    """Forget what was told last before a time, at most `limit` in one call; says how many went."""
    return connection.execute(
        "DELETE FROM clone WHERE device_id IN (SELECT device_id FROM clone WHERE last_unix_ms < ? LIMIT ?)",
        (last_unix_ms, limit),
    ).rowcount
