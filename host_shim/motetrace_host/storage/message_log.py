"""The messages themselves: compact records in blocks, one block per committed batch, and the places they came to.

A block has no index on its messages. Looking one up reads blocks and searches their bytes (about 1 GB/s), which costs
nothing while messages come in; a row and three index entries per message cost more than all the rest of the shim.
Writing methods run inside the caller's transaction (`database.transaction`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import numbered_key
from motetrace_host.core.messages.record import Record, RecordExtra
from motetrace_host.storage import forward_cursor
from motetrace_host.storage.database import integer

SPANS_PER_MESSAGE = 2  # device_publish and broker_forward
# What goes with a block: table, and the column that has the block's id.
_BY_BLOCK = (("verdict", "block_id"), ("revival", "block_id"), ("message_block", "id"), ("delivery", "block_id"))
_BLOCKS = "SELECT id, last_unix_ns, messages, records, extras FROM message_block "


class Block(NamedTuple):
    """One batch as stored: `messages` records of `record.SIZE` bytes, and the extras of some of them."""

    id: int
    last_unix_ns: int
    messages: int
    records: bytes
    extras: bytes


class DeviceTopicRow(NamedTuple):
    """Which device on which topic, by which template."""

    id: int
    device_id: str
    topic: str
    template: str


class LoggedMessage(NamedTuple):
    """One stored message; `deliveries` counts how often the broker brought it."""

    record: Record
    extra: RecordExtra
    place: DeviceTopicRow
    deliveries: int

    @property
    def origin(self) -> str:
        """traceparent, seqref, seq or none:<reason>."""
        return self.record.origin(self.extra)


class MessageLog:
    """The tables of messages, places and repeated deliveries of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def append(self, records: Sequence[bytes], extras: dict[int, bytes]) -> int:
        """Write a batch as one block; gives its id."""
        whole = b"".join(records)
        first = record.unpack(whole).received_unix_ns
        last = record.unpack(whole, len(whole) - record.SIZE).received_unix_ns
        cursor = self._connection.execute(
            "INSERT INTO message_block(first_unix_ns, last_unix_ns, messages, records, extras) VALUES(?,?,?,?,?)",
            (min(first, last), max(first, last), len(records), whole, record.join_extras(extras)),
        )
        return int(cursor.lastrowid or 0)

    def add_places(self, places: Iterable[DeviceTopicRow]) -> None:
        """Write places down; those that are there stay as they are."""
        self._connection.executemany("INSERT OR IGNORE INTO place VALUES(?,?,?,?)", places)

    def place_id(self, topic: str, device_id: str, template: str) -> int:
        """The id of a place, 0 when it is not known."""
        query = "SELECT id FROM place WHERE topic = ? AND device_id = ? AND template = ?"
        row = self._connection.execute(query, (topic, device_id, template)).fetchone()
        return int(row[0]) if row else 0

    def place(self, number: int) -> DeviceTopicRow:
        """A place by its id; one that was forgotten is nameless."""
        row = self._connection.execute("SELECT * FROM place WHERE id = ?", (number,)).fetchone()
        return DeviceTopicRow(*row) if row else DeviceTopicRow(number, "", "", "")

    def places_from(self, number: int, limit: int) -> dict[int, DeviceTopicRow]:
        """The first places from an id on, by id."""
        rows = self._connection.execute("SELECT * FROM place WHERE id >= ? ORDER BY id LIMIT ?", (number, limit))
        return {row[0]: DeviceTopicRow(*row) for row in rows}

    def last_place(self) -> int:
        """The highest id of a place; 0 when there is none."""
        return integer(self._connection, "SELECT coalesce(max(id), 0) FROM place")

    def places(self, device_id: str | None = None) -> dict[int, DeviceTopicRow]:
        """The places of a device, or all, by id."""
        if device_id is None:
            rows = self._connection.execute("SELECT * FROM place")
        else:
            rows = self._connection.execute("SELECT * FROM place WHERE device_id = ?", (device_id,))
        return {row[0]: DeviceTopicRow(*row) for row in rows}

    def thresholds(self) -> dict[int, int]:
        """Thresholds by the number under which records name them."""
        return dict(self._connection.execute("SELECT id, value FROM threshold").fetchall())

    def add_thresholds(self, thresholds: Iterable[tuple[int, int]]) -> None:
        """Write (number, threshold) pairs down; numbers that are there stay as they are."""
        self._connection.executemany("INSERT OR IGNORE INTO threshold VALUES(?, ?)", thresholds)

    def known_keys(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of these keys of messages without a number were seen before."""
        known = set()
        for key in keys:
            if self._connection.execute("SELECT 1 FROM delivery WHERE message_key = ?", (key,)).fetchone():
                known.add(key)
        return known

    def delivered(self, counts: Iterable[tuple[bytes, int, int]], block: int) -> None:
        """Count deliveries of messages by key: (key, deliveries of one not counted before, deliveries to add)."""
        self._connection.executemany(
            "INSERT INTO delivery VALUES(?, ?, ?)"
            " ON CONFLICT(message_key) DO UPDATE SET deliveries = deliveries + ?4, block_id = ?3",
            [(key, first, block, more) for key, first, more in counts],
        )

    def blocks(self, after: int = 0, limit: int = -1) -> Iterator[Block]:
        """The blocks behind one, in order."""
        rows = self._connection.execute(_BLOCKS + "WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return (Block(*row) for row in rows)

    def newest_blocks(self) -> Iterator[Block]:
        """All blocks, the newest first."""
        return (Block(*row) for row in self._connection.execute(_BLOCKS + "ORDER BY id DESC"))

    def last_block(self) -> int:
        """The id of the block written last; 0 when there is none."""
        return integer(self._connection, "SELECT coalesce(max(id), 0) FROM message_block")

    def block(self, number: int) -> Block | None:
        """One block by its id."""
        row = self._connection.execute(_BLOCKS + "WHERE id = ?", (number,)).fetchone()
        return Block(*row) if row else None

    def count(self, after: int = 0) -> int:
        """How many messages are in the blocks behind one."""
        return integer(self._connection, "SELECT coalesce(sum(messages), 0) FROM message_block WHERE id > ?", after)

    def entries(self) -> Iterator[LoggedMessage]:
        """Every message, in order of arrival."""
        places = self.places()
        for block in self.blocks():
            extras = record.split_extras(block.extras)
            for number in range(block.messages):
                found = record.unpack(block.records, number * record.SIZE)
                yield self._entry(found, extras.get(number, record.NO_EXTRA), places[found.place])

    def recent_inferred(self, limit: int) -> list[tuple[str, int, bytes]]:
        """Device, seq and boot nonce of those among the last `limit` messages that sent a bare seq, in order."""
        places = self.places()
        found: list[tuple[str, int, bytes]] = []
        for block in self.newest_blocks():
            for number in range(block.messages - 1, -1, -1):
                limit -= 1
                if limit < 0:
                    return found[::-1]
                seen = record.unpack(block.records, number * record.SIZE)
                if seen.inferred:
                    found.append((places[seen.place].device_id, seen.seq, seen.boot_nonce))
        return found[::-1]

    def find(self, device_id: str, seq: int, limit: int = 100) -> list[LoggedMessage]:
        """The messages of a device with this seq, one for each boot that has it, the newest first."""
        places = self.places(device_id)
        needle = seq.to_bytes(4, "big")
        found = []
        for block in self.newest_blocks():
            extras: dict[int, RecordExtra] | None = None
            for number in record.numbers_with(block.records, needle, record.SEQ_AT + 5):
                candidate = record.unpack(block.records, number * record.SIZE)
                if candidate.numbered and candidate.place in places:
                    extras = record.split_extras(block.extras) if extras is None else extras
                    extra = extras.get(number, record.NO_EXTRA)
                    found.append(self._entry(candidate, extra, places[candidate.place]))
                    if len(found) == limit:
                        return found
        return found

    def neighbours(self, device_id: str, boot_nonce: bytes, seq: int) -> tuple[Record | None, Record | None]:
        """The nearest messages of a boot before and after a seq that are still in the log."""
        places = self.places(device_id)
        before: Record | None = None
        after: Record | None = None
        for block in self.blocks():
            for number in record.numbers_with(block.records, boot_nonce, record.SEQ_AT):
                found = record.unpack(block.records, number * record.SIZE)
                if found.place not in places or not found.numbered:
                    continue
                if found.seq < seq and (before is None or before.seq < found.seq):
                    before = found
                elif found.seq > seq and (after is None or found.seq < after.seq):
                    after = found
        return before, after

    def trim(self, max_messages: int, limit: int = 200) -> int:
        """Forget the oldest blocks while more than `max_messages` messages stay, at most `limit` in one call.

        Returns:
            How many messages went; those whose spans had not been sent on are counted in forward_cursor.shed. One
            without a number that comes again after it was forgotten counts as new.
        """
        excess = self.count() - max_messages
        return self._forget_while(lambda gone, last_unix_ns: gone <= excess, limit)

    def trim_old(self, now_unix_ns: int, keep_ns: int, limit: int = 200) -> int:
        """Forget the oldest blocks that are further from now than `keep_ns`; see `trim`.

        An age counts without its sign, so that what was written under a clock that ran ahead goes too.
        """
        return self._forget_while(lambda gone, last_unix_ns: abs(now_unix_ns - last_unix_ns) > keep_ns, limit)

    def _forget_while(self, may_go: Callable[[int, int], bool], limit: int) -> int:
        """Forget blocks while `may_go` is true of the messages gone with this one, and of when its last one came."""
        gone, upto = 0, 0
        query = "SELECT id, messages, last_unix_ns FROM message_block ORDER BY id LIMIT ?"
        for block, messages, last_unix_ns in self._connection.execute(query, (limit,)).fetchall():
            if not may_go(gone + messages, last_unix_ns):
                break
            gone, upto = gone + messages, block
        if upto:
            self._count_shed(upto)
            for table, column in _BY_BLOCK:
                self._connection.execute(f"DELETE FROM {table} WHERE {column} <= ?", (upto,))
        return gone

    def trim_places(self, max_places: int) -> int:
        """Forget the places that no block names any more, when there are more than `max_places`; returns how many went.

        None goes while a batch waits for its settlement: it may name some.
        """
        places, pending = (
            integer(self._connection, f"SELECT count(*) FROM {table}") for table in ("place", "pending_batch")
        )
        if pending or places <= max_places:
            return 0
        named = {
            record.unpack(block.records, at).place
            for block in self.blocks()
            for at in range(0, len(block.records), record.SIZE)
        }
        doomed = [(place,) for place in self.places() if place not in named]
        self._connection.executemany("DELETE FROM place WHERE id = ?", doomed)
        return len(doomed)

    def _count_shed(self, upto: int) -> None:
        for target, at in forward_cursor.positions(self._connection).items():
            shed, offset = 0, at.offset
            for block in self.blocks(at.block):
                if block.id > upto:
                    break
                shed += SPANS_PER_MESSAGE * len(record.kept(block.records, offset))
                offset = 0
            self._connection.execute(
                "UPDATE forward_cursor SET shed = shed + ?1, block_upto = ?2, block_offset = 0"
                " WHERE target = ?3 AND block_upto < ?2",
                (shed, upto, target),
            )

    def _entry(self, found: Record, extra: RecordExtra, place: DeviceTopicRow) -> LoggedMessage:
        key = extra.message_key or numbered_key(place.device_id, found.boot_nonce, found.seq)
        row = self._connection.execute("SELECT deliveries FROM delivery WHERE message_key = ?", (key,)).fetchone()
        return LoggedMessage(found, extra, place, row[0] if row else 1)
