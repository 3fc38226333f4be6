"""Making what is stored of one boot of a device part of another boot of it: numbers, messages, the boot itself.

All of it belongs into one transaction, after `SqliteLedger.fold`: rows are changed here, and no log of runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from motetrace_host.core.ledger import boot_merge
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import numbered_key

_HOUR_MS = 3_600_000


class BootMerge(NamedTuple):
    """Which boot of which device becomes part of which."""

    device_id: str
    kept: bytes
    gone: bytes


def states(connection: sqlite3.Connection, names: BootMerge) -> None:
    """Join what was seen of the two, at every hop; those that know only the boot included.

    Raises:
        ValueError: at some hop they share too many numbers (core/ledger/boot_merge.py).
    """
    query = "SELECT device_id, hop, id, state FROM seen WHERE boot_nonce = ? AND device_id IN (?, '')"
    kept = {row[:2]: row[2:] for row in connection.execute(query, (names.kept, names.device_id))}
    for owner, hop, moved, state in connection.execute(query, (names.gone, names.device_id)).fetchall():
        if (owner, hop) not in kept:
            connection.execute("UPDATE seen SET boot_nonce = ? WHERE id = ?", (names.kept, moved))
            continue
        into, older = kept[owner, hop]
        one, other = SeenNumbers.unpack(older), SeenNumbers.unpack(state)
        boot_merge.check(one, other)
        both = boot_merge.merged(one, other)
        connection.execute("DELETE FROM seen WHERE id = ?", (moved,))
        connection.execute(
            "UPDATE seen SET state = ?, last_hour = ? WHERE id = ?",
            (both.pack(), both.last_unix_ms // _HOUR_MS, into),
        )


def messages(connection: sqlite3.Connection, names: BootMerge, older: SeenNumbers) -> tuple[int, int]:
    """Give the messages of `gone` to `kept`.

    Args:
        older: what the shim saw of `kept` before. A number in it is one reading, delivered again: the second one's
            record stays in its place, without a number, as those behind it have fixed places.
    Returns:
        How many went over, and how many were such repetitions. Their trace-ids stay as they were sent.
    """
    places = {row[0] for row in connection.execute("SELECT id FROM place WHERE device_id = ?", (names.device_id,))}
    moved = repeated = 0
    for block, before in _blocks(connection, names.gone):
        records = bytearray(before)
        for number in record.numbers_with(before, names.gone, record.SEQ_AT):
            found = record.unpack(before, number * record.SIZE)
            if found.place not in places or not found.numbered:
                continue
            again = older.contains(found.seq)
            record.rename_boot(records, number, None if again else names.kept)
            _rename_delivery(connection, names, found.seq, block if again else 0)
            moved, repeated = moved + (not again), repeated + again
        connection.execute("UPDATE message_block SET records = ? WHERE id = ?", (bytes(records), block))
    return moved, repeated


def boot(connection: sqlite3.Connection, names: BootMerge) -> None:
    """Forget the boot that became part of another."""
    connection.execute("DELETE FROM device_boot WHERE device_id = ? AND boot_nonce = ?", (names.device_id, names.gone))


def _blocks(connection: sqlite3.Connection, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """The blocks that have these bytes, one at a time."""
    query = "SELECT id FROM message_block WHERE instr(records, ?) ORDER BY id"
    for (block,) in connection.execute(query, (needle,)).fetchall():
        yield block, connection.execute("SELECT records FROM message_block WHERE id = ?", (block,)).fetchone()[0]


def _rename_delivery(connection: sqlite3.Connection, names: BootMerge, seq: int, repeated_in: int) -> None:
    """Count the deliveries of a message under its new name; `repeated_in` is the block of a repetition, else 0."""
    old, new = (numbered_key(names.device_id, nonce, seq) for nonce in (names.gone, names.kept))
    row = connection.execute(
        "DELETE FROM delivery WHERE message_key = ? RETURNING deliveries, block_id", (old,)
    ).fetchone()
    if row is None and not repeated_in:
        return
    deliveries, block = row or (1, repeated_in)
    connection.execute(
        "INSERT INTO delivery VALUES(?, ?, ?)"
        " ON CONFLICT(message_key) DO UPDATE SET deliveries = deliveries + ?4, block_id = ?3",
        (new, deliveries + bool(repeated_in), block, deliveries),
    )
