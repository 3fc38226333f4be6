"""The batch that a shim with a shared ledger has written down and not settled, and the name it counts batches under.

Ids of batches rise as long as the database lives, whatever is deleted: the shared ledger names a batch by them. The
name is drawn once for each database, and again when the two turn out not to belong together (a database that came from
a backup). Writing functions run inside the caller's transaction (`database.transaction`).
"""

from __future__ import annotations

import secrets
import sqlite3

from motetrace_host.storage import upkeep


def add(connection: sqlite3.Connection, content: bytes) -> int:
    """Write a batch down; gives its id."""
    return int(connection.execute("INSERT INTO pending_batch(content) VALUES(?)", (content,)).lastrowid or 0)


def load(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
    """The batch that waits, with its id; None when none does."""
    row: tuple[int, bytes] | None = connection.execute("SELECT id, content FROM pending_batch").fetchone()
    return row


def settle(connection: sqlite3.Connection, batch_id: int) -> None:
    """Forget a batch."""
    connection.execute("DELETE FROM pending_batch WHERE id = ?", (batch_id,))


def last_id(connection: sqlite3.Connection) -> int:
    """The id of the batch written down last, settled or not; 0 when there was none."""
    return upkeep.highest_id(connection, "pending_batch")


def shim_id(connection: sqlite3.Connection) -> str:
    """The name under which this database's batches are counted, drawn when there is none: 16 hex digits."""
    row = connection.execute("SELECT shim_id FROM shared_ledger").fetchone()
    return str(row[0]) if row else renew_shim_id(connection)


def renew_shim_id(connection: sqlite3.Connection) -> str:
    """Draw another name."""
    drawn = secrets.token_hex(8)
    connection.execute("DELETE FROM shared_ledger")
    connection.execute("INSERT INTO shared_ledger VALUES(?)", (drawn,))
    return drawn
