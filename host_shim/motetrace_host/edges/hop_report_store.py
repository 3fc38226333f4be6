"""Which hop reports were counted already, and what they could not count: in the one SQLite file.

Written inside the transaction that counts the reports, so that both are on disk or neither is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_PROCESSES: Final = 4_096

SCHEMA: Final = """
CREATE TABLE hop_report(
    reporter      TEXT NOT NULL,
    process       BLOB NOT NULL,    -- 8 bytes
    number        INTEGER NOT NULL, -- the highest that was counted
    below         INTEGER NOT NULL, -- bit i: number - 1 - i was counted too
    heard_unix_ms INTEGER NOT NULL,
    PRIMARY KEY(reporter, process)
) WITHOUT ROWID;
CREATE TABLE hop_uncounted(
    reporter   TEXT NOT NULL,
    hop        TEXT NOT NULL,
    unnumbered INTEGER NOT NULL,    -- messages that carried no number of ours
    shed       INTEGER NOT NULL,    -- numbers that found no room in the process's memory
    PRIMARY KEY(reporter, hop)
) WITHOUT ROWID;
"""


class Heard(NamedTuple):
    """The reports of one process that were counted: the highest number and a bit for each of the 62 below it."""

    number: int
    below: int
    heard_unix_ms: int


Process = tuple[str, bytes]


def load(connection: sqlite3.Connection) -> dict[Process, Heard]:
    """Give what was heard from the processes heard last, oldest first, at most `MAX_PROCESSES`."""
    rows = connection.execute(
        "SELECT reporter, process, number, below, heard_unix_ms FROM hop_report ORDER BY heard_unix_ms DESC LIMIT ?",
        (MAX_PROCESSES,),
    ).fetchall()
    return {(reporter, process): Heard(*rest) for reporter, process, *rest in reversed(rows)}


def save(
    connection: sqlite3.Connection,
    heard: Iterable[tuple[Process, Heard]],
    uncounted: Iterable[tuple[str, str, int, int]],
) -> None:
    """Write what changed; belongs into a transaction.

    Args:
        heard: Processes with their new state.
        uncounted: (reporter, hop, unnumbered, shed), to be added.
    """
    connection.executemany(
        "INSERT INTO hop_report VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = excluded.number, "
        "below = excluded.below, heard_unix_ms = excluded.heard_unix_ms",
        [(*process, *state) for process, state in heard],
    )
    connection.executemany(
        "INSERT INTO hop_uncounted VALUES(?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "unnumbered = unnumbered + excluded.unnumbered, shed = shed + excluded.shed",
        uncounted,
    )


def forget(connection: sqlite3.Connection, processes: Iterable[Process]) -> None:
    """Drop processes that went out of memory."""
    connection.executemany("DELETE FROM hop_report WHERE reporter = ? AND process = ?", processes)


def uncounted(connection: sqlite3.Connection) -> list[tuple[str, str, int, int]]:
    """Give (reporter, hop, unnumbered, shed) of every service that reported some."""
    return connection.execute(
        "SELECT reporter, hop, unnumbered, shed FROM hop_uncounted ORDER BY reporter, hop"
    ).fetchall()
