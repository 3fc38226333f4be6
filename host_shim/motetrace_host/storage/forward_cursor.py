"""How far each trace backend was sent what is stored: the stages' spans by id, the messages by block and offset.

Writing methods run inside the caller's transaction (`database.transaction`).
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from motetrace_host.storage.database import integer


class Position(NamedTuple):
    """Up to where everything was settled.

    Attributes:
        span_id: of the span table. block: of the message log. offset: messages of the block after that one.
        revival: of the messages that the tail kept afterwards; kept by their own table, not by the cursor.
    """

    span_id: int = 0
    block: int = 0
    offset: int = 0
    revival: int = 0


class ForwardState(NamedTuple):
    """Where a target stands; spans each, and messages whose spans are still to be made."""

    sent: int
    refused: int
    shed: int
    pending_spans: int
    pending_messages: int


def positions(connection: sqlite3.Connection) -> dict[str, Position]:
    """Where each target stands that was ever sent to."""
    rows = connection.execute("SELECT target, span_id_upto, block_upto, block_offset FROM forward_cursor ORDER BY 1")
    return {target: Position(*at) for target, *at in rows}


class ForwardCursor:
    """The cursor of one target."""

    def __init__(self, connection: sqlite3.Connection, target: str) -> None:
        self._connection = connection
        self._target = target

    def open(self) -> None:
        """Make sure there is one; a new one starts before everything that is stored."""
        self._connection.execute("INSERT OR IGNORE INTO forward_cursor(target) VALUES(?)", (self._target,))

    def position(self) -> Position:
        """Where it stands; all zero when there is none."""
        return positions(self._connection).get(self._target, Position())

    def settle(self, upto: Position, *, sent: int, refused: int) -> None:
        """Move to a position (never back: retention may have moved it meanwhile) and add to the counts."""
        self._connection.execute(
            "UPDATE forward_cursor SET span_id_upto = max(span_id_upto, ?), sent = sent + ?, refused = refused + ?"
            " WHERE target = ?",
            (upto.span_id, sent, refused, self._target),
        )
        self._connection.execute(
            "UPDATE forward_cursor SET block_upto = ?1, block_offset = ?2"
            " WHERE target = ?3 AND (block_upto, block_offset) < (?1, ?2)",
            (upto.block, upto.offset, self._target),
        )

    def state(self) -> ForwardState:
        """Counts, and what is still to be sent; all zero when there is none."""
        query = "SELECT sent, refused, shed FROM forward_cursor WHERE target = ?"
        sent, refused, shed = self._connection.execute(query, (self._target,)).fetchone() or (0, 0, 0)
        at = self.position()
        spans = integer(self._connection, "SELECT count(*) FROM span WHERE id > ?", at.span_id)
        behind = "SELECT coalesce(sum(messages), 0) FROM message_block WHERE id > ?"
        messages = integer(self._connection, behind, at.block)
        return ForwardState(sent, refused, shed, spans, messages - at.offset)
