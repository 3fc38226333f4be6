"""The ledger tables: which message was seen, once per message however often it came, and what was rejected and why.

Writing methods run inside the caller's transaction (`database.transaction`): ledger rows and spans of one batch reach
the disk together, and only then is the batch acknowledged to the broker.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from motetrace_host.core.birth import Birth
from motetrace_host.core.message import Message

MAX_BOOTS = 100_000  # beyond it the boots seen first are forgotten: their messages stay, their births go

_INSERT = (
    "INSERT OR IGNORE INTO message(message_key, device_id, boot_nonce, seq, trace_id, span_id, flags, origin, carrier,"
    " topic, qos, received_unix_ns, age_ms, payload_bytes) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
_ENTRY = (
    "SELECT device_id, boot_nonce, seq, trace_id, span_id, flags, origin, carrier, topic, qos, received_unix_ns,"
    " age_ms, payload_bytes, deliveries FROM message "
)
_COUNTS = (
    "SELECT device_id, boot_nonce, count(*), sum(deliveries - 1), min(seq), max(seq), max(received_unix_ns)"
    " FROM message"
)
_BOOT = (
    "INSERT INTO device_boot(device_id, boot_nonce, inferred, first_seen_unix_ns, last_seq) VALUES(?,?,?,?,?)"
    " ON CONFLICT(device_id, boot_nonce) DO UPDATE SET last_seq = max(coalesce(last_seq, 0), excluded.last_seq)"
)


class Entry(NamedTuple):
    """One message as the ledger knows it; `deliveries` counts how often the broker brought it."""

    device_id: str
    boot_nonce: bytes | None
    seq: int | None
    trace_id: bytes
    span_id: bytes
    flags: int
    origin: str
    carrier: str
    topic: str
    qos: int
    received_unix_ns: int
    age_ms: int | None
    payload_bytes: int
    deliveries: int


class Boot(NamedTuple):
    """One boot of a device; `firmware` and `birth` are None until its birth message came."""

    device_id: str
    boot_nonce: bytes
    inferred: bool
    first_seen_unix_ns: int
    firmware: str | None
    birth: str | None
    last_seq: int | None


class BootCount(NamedTuple):
    """What one boot of a device left in the ledger. `missing` lies between the lowest and the highest seq seen."""

    device_id: str
    boot_nonce: bytes | None
    seen: int
    duplicates: int
    lowest_seq: int | None
    highest_seq: int | None
    last_received_unix_ns: int

    @property
    def missing(self) -> int:
        """Numbers between lowest and highest seq that were never seen."""
        if self.lowest_seq is None or self.highest_seq is None:
            return 0
        return self.highest_seq - self.lowest_seq + 1 - self.seen


class Ledger:
    """The ledger tables of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, messages: Sequence[Message]) -> list[bool]:
        """Write messages down; says for each whether it is new. A known one gets one delivery more."""
        execute = self._connection.execute
        new: list[bool] = []
        boots: dict[tuple[str, bytes], Message] = {}
        for m in messages:
            is_new = (
                execute(
                    _INSERT,
                    (
                        m.key, m.device_id, m.boot_nonce, m.seq, m.trace_id, m.span_id, m.flags, m.origin, m.carrier,
                        m.topic, m.qos, m.received_unix_ns, m.age_ms, m.payload_bytes,
                    ),
                ).rowcount
                > 0
            )  # fmt: skip
            if not is_new:
                execute("UPDATE message SET deliveries = deliveries + 1 WHERE message_key = ?", (m.key,))
            new.append(is_new)
            if m.boot_nonce is not None and m.seq is not None:
                known = boots.get((m.device_id, m.boot_nonce))
                if known is None or (known.seq or 0) < m.seq:
                    boots[m.device_id, m.boot_nonce] = m
        self._connection.executemany(
            _BOOT,
            [
                (device_id, nonce, m.origin == "seq", m.received_unix_ns, m.seq)
                for (device_id, nonce), m in boots.items()
            ],
        )
        return new

    def reject(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add to the rejections of (device, reason)."""
        self._connection.executemany(
            "INSERT INTO rejection VALUES(?,?,?)"
            " ON CONFLICT(device_id, reason) DO UPDATE SET count = count + excluded.count",
            [(device_id, reason, count) for (device_id, reason), count in counts.items()],
        )

    def rejections(self) -> list[tuple[str, str, int]]:
        """All of them: device ('' beyond the cap), reason, count."""
        return self._connection.execute("SELECT device_id, reason, count FROM rejection ORDER BY 1, 2").fetchall()

    def store_birth(self, device_id: str, birth: Birth, received_unix_ns: int) -> None:
        """Keep what a device said about a boot; the last word counts."""
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

    def last_id(self) -> int:
        """The number of the row written last; 0 when there is none."""
        number: int = self._connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()[0]
        return number

    def inferred(self, device_id: str, seq: int, after_id: int, upto_id: int) -> list[tuple[int, bytes]]:
        """The messages with a bare seq in the rows beyond `after_id`, to `upto_id`: row and boot nonce, ascending."""
        return self._connection.execute(
            "SELECT id, boot_nonce FROM message"
            " WHERE device_id = ? AND seq = ? AND id > ? AND id <= ? AND origin = 'seq' ORDER BY id",
            (device_id, seq, after_id, upto_id),
        ).fetchall()

    def latest_nonces(self, device_id: str, limit: int) -> list[bytes]:
        """The nonces that a device drew at its latest boots, the latest first."""
        found = self._connection.execute(
            "SELECT boot_nonce FROM device_boot WHERE device_id = ? AND NOT inferred"
            " ORDER BY first_seen_unix_ns DESC LIMIT ?",
            (device_id, limit),
        )
        return [row[0] for row in found]

    def birth(self, device_id: str, boot_nonce: bytes | None) -> str | None:
        """The birth message of a boot; of the boot seen last when `boot_nonce` is None."""
        if boot_nonce is None:
            query = (
                "SELECT birth FROM device_boot WHERE device_id = ? AND birth IS NOT NULL"
                " ORDER BY first_seen_unix_ns DESC LIMIT 1"
            )
            row = self._connection.execute(query, (device_id,)).fetchone()
        else:
            query = "SELECT birth FROM device_boot WHERE device_id = ? AND boot_nonce = ?"
            row = self._connection.execute(query, (device_id, boot_nonce)).fetchone()
        return row[0] if row else None

    def boots(self, device_id: str) -> list[Boot]:
        """The boots of a device, the first seen first."""
        found = self._connection.execute(
            "SELECT device_id, boot_nonce, inferred, first_seen_unix_ns, firmware, birth, last_seq FROM device_boot"
            " WHERE device_id = ? ORDER BY first_seen_unix_ns",
            (device_id,),
        )
        return [Boot(row[0], row[1], bool(row[2]), *row[3:]) for row in found]

    def find(self, device_id: str, seq: int, limit: int = 100) -> list[Entry]:
        """The messages of a device with this seq, one for each boot that has it, the newest first."""
        query = _ENTRY + "WHERE device_id = ? AND seq = ? ORDER BY received_unix_ns DESC LIMIT ?"
        return [Entry(*row) for row in self._connection.execute(query, (device_id, seq, limit))]

    def neighbours(self, device_id: str, boot_nonce: bytes, seq: int) -> tuple[Entry | None, Entry | None]:
        """The nearest messages of a boot before and after a seq."""
        where = "WHERE device_id = ? AND boot_nonce = ? AND seq "
        values = (device_id, boot_nonce, seq)
        first = self._connection.execute(_ENTRY + where + "< ? ORDER BY seq DESC LIMIT 1", values).fetchone()
        second = self._connection.execute(_ENTRY + where + "> ? ORDER BY seq LIMIT 1", values).fetchone()
        return (Entry(*first) if first else None), (Entry(*second) if second else None)

    def counts(self, device_id: str | None = None) -> list[BootCount]:
        """What each boot of each device (or of one) left in the ledger."""
        group = " GROUP BY device_id, boot_nonce ORDER BY device_id, max(received_unix_ns)"
        if device_id is None:
            found = self._connection.execute(_COUNTS + group)
        else:
            found = self._connection.execute(_COUNTS + " WHERE device_id = ?" + group, (device_id,))
        return [BootCount(*row) for row in found]

    def trim(self, max_messages: int, limit: int = 2_000) -> int:
        """Forget the oldest messages beyond `max_messages`, at most `limit` in one call; says how many went.

        A message that comes again after it was forgotten counts as new.
        """
        low, high = self._connection.execute("SELECT min(id), max(id) FROM message").fetchone()
        if low is None or high - low < max_messages:
            return 0
        upto = min(high - max_messages, low + limit - 1)
        gone: int = self._connection.execute("DELETE FROM message WHERE id <= ?", (upto,)).rowcount
        return gone

    def trim_boots(self, limit: int = 2_000) -> int:
        """Forget the boots seen first beyond `MAX_BOOTS`, at most `limit` in one call; says how many went."""
        excess: int = self._connection.execute("SELECT count(*) FROM device_boot").fetchone()[0] - MAX_BOOTS
        if excess <= 0:
            return 0
        oldest: Iterable[tuple[str, bytes]] = self._connection.execute(
            "SELECT device_id, boot_nonce FROM device_boot ORDER BY first_seen_unix_ns LIMIT ?", (min(excess, limit),)
        ).fetchall()
        self._connection.executemany("DELETE FROM device_boot WHERE device_id = ? AND boot_nonce = ?", oldest)
        self._connection.execute(
            "DELETE FROM inferred_boot WHERE device_id NOT IN (SELECT device_id FROM device_boot WHERE inferred)"
        )
        return min(excess, limit)
