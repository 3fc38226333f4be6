"""How many messages the broker said it dropped, by device or subscriber and reason, in the one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_ROWS: Final = 20_000


class DropCount(NamedTuple):
    """One row."""

    device_id: str
    receiver: str
    event: str
    reason: str
    dropped: int
    unnamed: int


def add(connection: sqlite3.Connection, counts: Iterable[DropCount], max_rows: int = MAX_ROWS) -> None:
    """Add counts; belongs into a transaction. Beyond `max_rows` new devices and subscribers are counted as ''."""
    rows: int = connection.execute("SELECT count(*) FROM broker_drop").fetchone()[0]
    for count in counts:
        added = connection.execute(
            "UPDATE broker_drop SET dropped = dropped + ?5, unnamed = unnamed + ?6 "
            "WHERE device_id = ?1 AND receiver = ?2 AND event = ?3 AND reason = ?4",
            count,
        ).rowcount
        if not added:
            row = count if rows < max_rows else count._replace(device_id="", receiver="")
            rows += 1
            connection.execute(
                "INSERT INTO broker_drop VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "dropped = dropped + excluded.dropped, unnamed = unnamed + excluded.unnamed",
                row,
            )


def read(connection: sqlite3.Connection, device_id: str | None = None) -> list[DropCount]:
    """Give what was counted, of one device or of all, the most first."""
    rows = connection.execute(
        "SELECT * FROM broker_drop WHERE ?1 IS NULL OR device_id = ?1 ORDER BY dropped DESC", (device_id,)
    )
    return [DropCount(*row) for row in rows]
