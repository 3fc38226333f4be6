"""What the tail sampler decided, one byte per message of a block; and messages that it kept afterwards.

Writing methods run inside the caller's transaction (`database.transaction`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple


class Revival(NamedTuple):
    """One message that is to be sent after all: record `number` of a block, and the `Reason` as a number."""

    id: int
    block_id: int
    number: int
    reason: int


class TailDecisionLog:
    """The tables of verdicts and revivals of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, block_id: int) -> bytes | None:
        """The reasons of a block's messages, None when none was decided yet."""
        row = self._connection.execute("SELECT reasons FROM verdict WHERE block_id = ?", (block_id,)).fetchone()
        return bytes(row[0]) if row else None

    def note(self, block_id: int, reasons: bytes) -> None:
        """Keep the reasons of a block's messages, one byte each."""
        self._connection.execute("INSERT OR REPLACE INTO verdict VALUES(?, ?)", (block_id, reasons))

    def keep_after_all(self, messages: Iterable[tuple[int, int, int]]) -> None:
        """Queue messages: block, number in it, reason."""
        self._connection.executemany("INSERT INTO revival(block_id, number, reason) VALUES(?, ?, ?)", messages)

    def revivals(self, limit: int) -> list[Revival]:
        """The messages that wait to be sent, the longest waiting first."""
        found = self._connection.execute(
            "SELECT id, block_id, number, reason FROM revival ORDER BY id LIMIT ?", (limit,)
        )
        return [Revival(*row) for row in found]

    def settle_revivals(self, upto: int) -> None:
        """Forget those up to this id: they were sent, or refused."""
        self._connection.execute("DELETE FROM revival WHERE id <= ?", (upto,))
