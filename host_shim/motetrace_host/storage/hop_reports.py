"""Which hop reports were counted already, and what they could not count: in the one SQLite file.

Written inside the transaction that counts the reports, so that both are on disk or neither is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_PROCESSES: Final = 4_096


class ProcessReports(NamedTuple):
    """The reports of one process that were counted: the highest number and a bit for each of the 62 below it."""

    number: int
    below: int
    heard_unix_ms: int


class ServiceReports(NamedTuple):
    """What a service reported for one hop, to be added: since its last writing, Unix ms, and what it did not count."""

    reporter: str
    hop: str
    heard_unix_ms: int
    unnumbered: int
    shed: int


ProcessKey = tuple[str, bytes]


def load(connection: sqlite3.Connection) -> dict[ProcessKey, ProcessReports]:
    """Give what was heard from the processes heard last, oldest first, at most `MAX_PROCESSES`."""
    rows = connection.execute(
        "SELECT reporter, process, number, below, heard_unix_ms FROM hop_report ORDER BY heard_unix_ms DESC LIMIT ?",
        (MAX_PROCESSES,),
    ).fetchall()
    return {(reporter, process): ProcessReports(*rest) for reporter, process, *rest in reversed(rows)}


def save(
    connection: sqlite3.Connection,
    heard: Iterable[tuple[ProcessKey, ProcessReports]],
    services: Iterable[ServiceReports],
) -> None:
    """Write what changed; belongs into a transaction.

    Args:
        heard: Processes with their new state.
        services: Who reported for which hop.
    """
    connection.executemany(
        "INSERT INTO hop_report VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET number = excluded.number, "
        "below = excluded.below, heard_unix_ms = excluded.heard_unix_ms",
        [(*process, *state) for process, state in heard],
    )
    connection.executemany(
        "INSERT INTO hop_service VALUES(?1, ?2, ?3, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "
        "heard_unix_ms = max(heard_unix_ms, excluded.heard_unix_ms), "
        "unnumbered = unnumbered + excluded.unnumbered, shed = shed + excluded.shed",
        services,
    )


def forget(connection: sqlite3.Connection, processes: Iterable[ProcessKey]) -> None:
    """Drop processes that went out of memory."""
    connection.executemany("DELETE FROM hop_report WHERE reporter = ? AND process = ?", processes)


def heard(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Give, for each hop that any service reports for, when it was heard first and last, Unix ms."""
    rows = connection.execute("SELECT hop, min(since_unix_ms), max(heard_unix_ms) FROM hop_service GROUP BY hop")
    return {hop: (since, last) for hop, since, last in rows}


def uncounted(connection: sqlite3.Connection) -> list[tuple[str, str, int, int]]:
    """Give (reporter, hop, unnumbered, shed) of every service that has some."""
    return connection.execute(
        "SELECT reporter, hop, unnumbered, shed FROM hop_service WHERE unnumbered OR shed ORDER BY reporter, hop"
    ).fetchall()
