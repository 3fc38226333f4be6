"""Boots of devices: their births, and the ones that were inferred.

Which numbers were seen of a boot is in storage/sqlite_ledger.py or cluster/redis_ledger.py; the messages themselves
are in storage/message_log.py. Writing methods run inside the caller's transaction (`database.transaction`): all of one
batch reaches the disk together, and only then is the batch acknowledged to the broker.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from motetrace_host.core.wire.birth import Birth
from motetrace_host.storage.database import integer
from motetrace_host.storage.side_tables import UNNUMBERED

MAX_BOOTS = 100_000  # beyond it the boots seen first are forgotten: their messages stay, their births go
MAX_UNNUMBERED = 100_000  # devices; who makes device ids up would fill the disk with their counts


class Boot(NamedTuple):
    """One boot of a device; `firmware` and `birth` are None until its birth message came.

    `why` is the rule of `core.boots` that began an inferred boot; "" for others, and where it is not known.
    """

    device_id: str
    boot_nonce: bytes
    inferred: bool
    first_seen_unix_ns: int
    firmware: str | None
    birth: str | None
    why: str = ""


class BootTable:
    """The tables of boots of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_boots(self, boots: Iterable[tuple[str, bytes, bool, int]]) -> None:
        """Note boots: device, nonce, whether we inferred it, when it was seen; known ones stay as they are."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO device_boot(device_id, boot_nonce, inferred, first_seen_unix_ns) VALUES(?,?,?,?)",
            boots,
        )

    def store_birth(self, device_id: str, birth: Birth, received_unix_ns: int) -> None:
        """Keep the birth message of a boot; the latest counts."""
        self._connection.execute(
            "INSERT INTO device_boot(device_id, boot_nonce, inferred, first_seen_unix_ns, firmware, birth)"
            " VALUES(?,?,0,?,?,?)"
            " ON CONFLICT(device_id, boot_nonce) DO UPDATE SET firmware = excluded.firmware, birth = excluded.birth",
            (device_id, birth.boot_nonce, received_unix_ns, birth.firmware or None, birth.text),
        )

    def boot_state(self, device_id: str) -> bytes | None:
        """The packed state of `core.boots` for a device that sends a bare seq."""
        row = self._connection.execute("SELECT state FROM inferred_boot WHERE device_id = ?", (device_id,)).fetchone()
        return row[0] if row else None

    def keep_boot_states(self, states: Iterable[tuple[str, bytes]]) -> None:
        """Keep packed states of `core.boots`."""
        self._connection.executemany("INSERT OR REPLACE INTO inferred_boot VALUES(?, ?)", states)

    def keep_reasons(self, reasons: Iterable[tuple[str, bytes, str]]) -> None:
        """Keep why boots were inferred: device, nonce, rule."""
        self._connection.executemany(
            "UPDATE device_boot SET why = ?3 WHERE device_id = ?1 AND boot_nonce = ?2", reasons
        )

    @property
    def changes(self) -> int:
        """Grows with each row that this connection writes."""
        return self._connection.total_changes

    def latest_nonces(self, device_id: str, limit: int) -> list[bytes]:
        """The nonces that a device drew at its latest boots, the latest first."""
        found = self._connection.execute(
            "SELECT boot_nonce FROM device_boot WHERE device_id = ? AND NOT inferred"
            " ORDER BY first_seen_unix_ns DESC LIMIT ?",
            (device_id, limit),
        )
        return [row[0] for row in found]

    def first_seen(self, device_id: str, boot_nonce: bytes) -> int | None:
        """When a boot was first seen, in Unix ns; None when it is not known."""
        query = "SELECT first_seen_unix_ns FROM device_boot WHERE device_id = ? AND boot_nonce = ?"
        row = self._connection.execute(query, (device_id, boot_nonce)).fetchone()
        return int(row[0]) if row else None

    def birth(self, device_id: str, boot_nonce: bytes | None) -> str | None:
        """The birth message of a boot; of the boot seen last when `boot_nonce` is None."""
        query = "SELECT birth FROM device_boot WHERE device_id = ? AND "
        if boot_nonce is None:
            latest = "birth IS NOT NULL ORDER BY first_seen_unix_ns DESC LIMIT 1"
            row = self._connection.execute(query + latest, (device_id,)).fetchone()
        else:
            row = self._connection.execute(query + "boot_nonce = ?", (device_id, boot_nonce)).fetchone()
        return row[0] if row else None

    def boots(self, device_id: str | None = None) -> list[Boot]:
        """The boots of a device, or of all; of each device the first seen first."""
        query = (
            "SELECT device_id, boot_nonce, inferred, first_seen_unix_ns, firmware, birth, coalesce(why, '')"
            " FROM device_boot"
        )
        order = " ORDER BY device_id, first_seen_unix_ns"
        if device_id is None:
            found = self._connection.execute(query + order)
        else:
            found = self._connection.execute(query + " WHERE device_id = ?" + order, (device_id,))
        return [Boot(row[0], row[1], bool(row[2]), *row[3:]) for row in found]

    def trim_old(self, before_unix_ns: int, limit: int = 2_000) -> int:
        """Forget boots first seen before a time of which the ledger has no numbers any more, and counts of messages
        without a number from before it; at most `limit` boots in one call. Returns how many boots went.

        For a ledger whose numbers are in this database: where they are elsewhere, every boot would seem forgotten.
        """
        UNNUMBERED.trim_before(self._connection, before_unix_ns, MAX_UNNUMBERED)
        oldest = self._connection.execute(
            "SELECT device_id, boot_nonce FROM device_boot AS boot WHERE first_seen_unix_ns < ?"
            " AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.boot_nonce = boot.boot_nonce) LIMIT ?",
            (before_unix_ns, limit),
        ).fetchall()
        return self._forget_boots(oldest)

    def _forget_boots(self, doomed: Sequence[tuple[str, bytes]]) -> int:
        self._connection.executemany("DELETE FROM device_boot WHERE device_id = ? AND boot_nonce = ?", doomed)
        if doomed:
            self._connection.execute(
                "DELETE FROM inferred_boot WHERE device_id NOT IN (SELECT device_id FROM device_boot WHERE inferred)"
            )
        return len(doomed)

    def trim_boots(self, limit: int = 2_000) -> int:
        """Forget the boots seen first beyond `MAX_BOOTS`, at most `limit` in one call; returns how many went.

        Likewise the counts of the devices without numbers that sent longest ago, beyond `MAX_UNNUMBERED`.
        """
        UNNUMBERED.trim_beyond(self._connection, MAX_UNNUMBERED, MAX_UNNUMBERED)
        excess = integer(self._connection, "SELECT count(*) FROM device_boot") - MAX_BOOTS
        if excess <= 0:
            return 0
        return self._forget_boots(
            self._connection.execute(
                "SELECT device_id, boot_nonce FROM device_boot ORDER BY first_seen_unix_ns LIMIT ?",
                (min(excess, limit),),
            ).fetchall()
        )
