"""The small tables beside messages, numbers and spans: counts, and what devices, stages and the broker reported."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.storage.database import integer

MAX_STATS: Final = 100_000  # boots
MAX_DROPS: Final = 20_000
MAX_PROCESSES: Final = 4_096

Row = TypeVar("Row", bound=NamedTuple)


class SideTable(Generic[Row]):
    """A table in which a saved row is merged into the one that has its key.

    Writing methods belong into a transaction (`database.transaction`).

    Args:
        row: the columns in their order, those of the key first: `keys` of them, the first a device's or reporter's id.
        merge: what becomes of a row that is there, as SQLite's DO UPDATE SET takes it.
        age: the column by which rows are old.
        order: in which rows are read.
    """

    def __init__(self, name: str, row: type[Row], keys: int, merge: str, *, age: str = "", order: str = "1, 2") -> None:
        columns, self._row, self._name = row._fields, row, name
        self._key, self._age, self._order = columns[:keys], age, f" ORDER BY {order}"
        marks = ", ".join("?" * len(columns))
        self._save = f"INSERT INTO {name}({', '.join(columns)}) VALUES({marks}) ON CONFLICT DO UPDATE SET {merge}"
        self._read = f"SELECT {', '.join(columns)} FROM {name}"
        self._delete = f"DELETE FROM {name} WHERE " + " AND ".join(f"{column} = ?" for column in self._key)

    def save(self, connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
        """Write rows, one after the other."""
        connection.executemany(self._save, rows)

    def read(self, connection: sqlite3.Connection, owner: str | None = None) -> list[Row]:
        """The rows of a device or reporter, or all."""
        if owner is None:
            found = connection.execute(self._read + self._order)
        else:
            found = connection.execute(f"{self._read} WHERE {self._key[0]} = ?{self._order}", (owner,))
        return [self._row._make(values) for values in found]

    def count(self, connection: sqlite3.Connection) -> int:
        """How many rows there are."""
        return integer(connection, f"SELECT count(*) FROM {self._name}")

    def delete(self, connection: sqlite3.Connection, keys: Iterable[tuple[object, ...]]) -> None:
        """Forget rows by their keys."""
        connection.executemany(self._delete, keys)

    def trim_before(self, connection: sqlite3.Connection, time: int, limit: int) -> int:
        """Forget the rows older than a time, in the unit of the column, at most `limit`; returns how many went."""
        return self._forget(connection, f"WHERE {self._age} < ?", (time, limit))

    def trim_beyond(self, connection: sqlite3.Connection, max_rows: int, limit: int) -> int:
        """Forget the oldest rows beyond `max_rows`, at most `limit`; returns how many went."""
        excess = self.count(connection) - max_rows
        return self._forget(connection, "", (min(excess, limit),)) if excess > 0 else 0

    def _forget(self, connection: sqlite3.Connection, condition: str, values: tuple[int, ...]) -> int:
        query = f"SELECT {', '.join(self._key)} FROM {self._name} {condition} ORDER BY {self._age} LIMIT ?"
        oldest = connection.execute(query, values).fetchall()
        self.delete(connection, oldest)
        return len(oldest)


class Rejection(NamedTuple):
    """How often messages of a device were refused for a reason; device '' where no topic named one, or many do."""

    device_id: str
    reason: str
    count: int  # type: ignore[assignment]  # the column's name, which is a tuple's method too


class Unnumbered(NamedTuple):
    """Messages of a device that had no number: different `messages`, and `duplicates` of them that came again."""

    device_id: str
    messages: int
    duplicates: int
    last_unix_ns: int


class CloneRow(NamedTuple):
    """A device id that two devices use: the pair of boots noticed last, how often one was, when first and last."""

    device_id: str
    older: bytes
    newer: bytes
    times: int
    first_unix_ms: int
    last_unix_ms: int


class DropCount(NamedTuple):
    """Messages that the broker reported as dropped, of a device, for a subscriber; `unnamed` had no visible number."""

    device_id: str
    receiver: str
    event: str
    reason: str
    dropped: int
    unnamed: int


class ServiceReports(NamedTuple):
    """What a service reported for one hop: its first and last report, and what those could not count."""

    reporter: str
    hop: str
    since_unix_ms: int
    heard_unix_ms: int
    unnumbered: int
    shed: int


class ProcessReports(NamedTuple):
    """The reports of one process that were counted: the highest number, and a bit for each of the 62 below it."""

    reporter: str
    process: bytes
    number: int
    below: int
    heard_unix_ms: int


class _StatsRow(NamedTuple):
    device_id: str
    boot_nonce: bytes
    last_seq: int
    more: int
    acked: int
    lost: int
    pending: int
    rtt_ms: int | None
    ticks_ms: int | None
    free_bytes: int | None
    counters: str
    heard_unix_ms: int


REJECTIONS: Final = SideTable("rejection", Rejection, 2, "count = count + excluded.count")
UNNUMBERED: Final = SideTable(
    "unnumbered",
    Unnumbered,
    1,
    "messages = messages + excluded.messages, duplicates = duplicates + excluded.duplicates,"
    " last_unix_ns = max(last_unix_ns, excluded.last_unix_ns)",
    age="last_unix_ns",
)
CLONES: Final = SideTable(
    "clone",
    CloneRow,
    1,
    "older = excluded.older, newer = excluded.newer, times = times + excluded.times,"
    " last_unix_ms = max(last_unix_ms, excluded.last_unix_ms)",
    age="last_unix_ms",
)
BROKER_DROPS: Final = SideTable(
    "broker_drop",
    DropCount,
    4,
    "dropped = dropped + excluded.dropped, unnamed = unnamed + excluded.unnamed",
    order="dropped DESC",
)
HOP_SERVICES: Final = SideTable(
    "hop_service",
    ServiceReports,
    2,
    "heard_unix_ms = max(heard_unix_ms, excluded.heard_unix_ms),"
    " unnumbered = unnumbered + excluded.unnumbered, shed = shed + excluded.shed",
)
HOP_PROCESSES: Final = SideTable(
    "hop_report",
    ProcessReports,
    2,
    "number = excluded.number, below = excluded.below, heard_unix_ms = excluded.heard_unix_ms",
    order="heard_unix_ms",
)
# The same seq at the same ticks is the same message once more. An older one, come late, adds only what it adds up.
_OF_THE_LATEST: Final = ("acked", "lost", "pending", "rtt_ms", "ticks_ms", "free_bytes", "counters")
DEVICE_STATS: Final = SideTable(
    "device_stats",
    _StatsRow,
    2,
    "more = min(more + excluded.more, 4611686018427387903), last_seq = max(last_seq, excluded.last_seq),"
    + "".join(f" {name} = iif(excluded.last_seq >= last_seq, excluded.{name}, {name})," for name in _OF_THE_LATEST)
    + " heard_unix_ms = max(heard_unix_ms, excluded.heard_unix_ms)"
    " WHERE NOT (last_seq = excluded.last_seq AND ticks_ms IS excluded.ticks_ms)",
    age="heard_unix_ms",
)


def add_drops(connection: sqlite3.Connection, counts: Iterable[DropCount], max_rows: int = MAX_DROPS) -> None:
    """Add to the counts of drops; beyond `max_rows` new devices and subscribers are counted as ''."""
    rows = BROKER_DROPS.count(connection)
    known = "SELECT 1 FROM broker_drop WHERE device_id = ? AND receiver = ? AND event = ? AND reason = ?"
    for count in counts:
        if connection.execute(known, count[:4]).fetchone() is None:
            if rows >= max_rows:
                count = count._replace(device_id="", receiver="")
            rows += 1
        BROKER_DROPS.save(connection, [count])


def save_stats(connection: sqlite3.Connection, messages: Iterable[tuple[str, DeviceStats, int]]) -> None:
    """Write stats messages in the order they came: (device id, stats, Unix ms); belongs into a transaction."""
    DEVICE_STATS.save(
        connection,
        (
            _StatsRow(
                device_id, one.boot_nonce, one.last_seq, one.more, one.acked, one.lost, one.pending,
                one.rtt_ms, one.ticks_ms, one.free_bytes, json.dumps(dict(one.counters)), at_unix_ms,
            )
            for device_id, one, at_unix_ms in messages
        ),
    )  # fmt: skip


def latest_stats(
    connection: sqlite3.Connection, device_id: str | None = None
) -> dict[tuple[str, bytes], tuple[DeviceStats, int]]:
    """The latest stats of each boot of one device or of all, and when they came (Unix ms), by device and nonce.

    `more` is the sum; `failed` is empty, as those numbers are in the ledger.
    """
    found = {}
    for row in DEVICE_STATS.read(connection, device_id):
        named = tuple(json.loads(row.counters).items())
        found[row[:2]] = DeviceStats(row.boot_nonce, row.last_seq, (), *row[3:10], named), row.heard_unix_ms
    return found


def counted_reports(connection: sqlite3.Connection) -> dict[tuple[str, bytes], ProcessReports]:
    """Which reports of the processes that reported last were counted, the oldest first, at most `MAX_PROCESSES`."""
    return {row[:2]: row for row in HOP_PROCESSES.read(connection)[-MAX_PROCESSES:]}


def unnumbered_services(connection: sqlite3.Connection) -> dict[str, tuple[int, tuple[str, ...]]]:
    """The hops whose services got messages without a number: how many, and the services with the most in front."""
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    query = "SELECT hop, unnumbered, reporter FROM hop_service WHERE unnumbered > 0 ORDER BY unnumbered DESC"
    for hop, messages, reporter in connection.execute(query):
        count, services = found.get(hop, (0, ()))
        found[hop] = count + messages, (*services, reporter)
    return found


def reporting_times(connection: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """When each hop that any service reports for was reported first and last, Unix ms."""
    rows = connection.execute("SELECT hop, min(since_unix_ms), max(heard_unix_ms) FROM hop_service GROUP BY hop")
    return {hop: (since, last) for hop, since, last in rows}
