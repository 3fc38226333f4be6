"""The span tables: what the stages sent, as OTLP bytes.

Writing methods run inside the caller's transaction (`database.transaction`), because spans and ledger rows of one batch
of messages must reach the disk together.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b

from motetrace_host.core.spans.span import SpanRow
from motetrace_host.storage import forward_cursor
from motetrace_host.storage.database import integer

_INSERT = (
    "INSERT OR IGNORE INTO span"
    "(trace_id, span_id, name, start_unix_ns, end_unix_ns, status, resource_id, scope, span) VALUES(?,?,?,?,?,?,?,?,?)"
)
_SELECT = (
    "SELECT s.trace_id, s.span_id, s.name, s.start_unix_ns, s.end_unix_ns, s.status, r.resource, s.scope, s.span, s.id "
    "FROM span s JOIN resource r ON r.id = s.resource_id "
)
# One look into span_by_resource for each resource; `NOT IN (SELECT resource_id FROM span)` would read all spans.
_DELETE_UNNAMED = "DELETE FROM resource WHERE NOT EXISTS (SELECT 1 FROM span WHERE span.resource_id = resource.id)"


class SpanStore:
    """The span tables of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def insert(self, rows: Iterable[SpanRow]) -> int:
        """Store spans, ignoring those whose (trace_id, span_id) is there already; returns how many were new."""
        resource_ids: dict[bytes, int] = {}
        values = []
        for row in rows:
            resource_id = resource_ids.get(row.resource)
            if resource_id is None:
                resource_id = resource_ids[row.resource] = self._resource_id(row.resource)
            values.append((*row[:6], resource_id, row.scope, row.span))
        return self._connection.executemany(_INSERT, values).rowcount if values else 0

    def trace(self, trace_id: bytes, limit: int = 10_000) -> list[SpanRow]:
        """The spans of one trace, by start time; at most `limit`."""
        found = self._connection.execute(
            _SELECT + "WHERE s.trace_id = ? ORDER BY s.start_unix_ns, s.id LIMIT ?", (trace_id, limit)
        )
        return [SpanRow(*row) for row in found]

    def count(self, name: str, by: int = 1) -> None:
        """Add to a named counter."""
        self._connection.execute(
            "INSERT INTO counter VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def counters(self) -> dict[str, int]:
        """All named counters."""
        return dict(self._connection.execute("SELECT name, value FROM counter ORDER BY name").fetchall())

    def trim(self, *, max_spans: int, limit: int = 2_000) -> int:
        """Delete the oldest spans beyond `max_spans`, in the order they were stored; at most `limit` in one call.

        Call it again while it deletes `limit`, so that no single transaction holds the write lock for long. A trace may
        lose its early spans before its late ones. What had not been forwarded is counted in forward_cursor.shed.
        """
        excess = integer(self._connection, "SELECT count(*) FROM span") - max_spans
        if excess <= 0:
            return 0
        return self._delete(self._ids("SELECT id FROM span ORDER BY id LIMIT ?", min(limit, excess)), limit)

    def mark(self, at_unix_ms: int, every_ms: int = 3_600_000) -> None:
        """Note which spans are stored by now, unless the last note is younger than `every_ms`.

        Why not by the spans' own times: those are of their senders' clocks. Where this clock stepped back, nothing is
        noted until it has caught up: spans may stay too long then, up to `trim`'s bound, and never go too early.
        """
        if at_unix_ms - integer(self._connection, "SELECT coalesce(max(at_unix_ms), 0) FROM span_mark") >= every_ms:
            self._connection.execute("INSERT INTO span_mark SELECT ?, coalesce(max(id), 0) FROM span", (at_unix_ms,))

    def trim_marked(self, before_unix_ms: int, limit: int = 2_000) -> int:
        """Delete the spans that were noted before a time, at most `limit` in one call; see `trim`."""
        marked = "SELECT coalesce(max(span_id), 0) FROM span_mark WHERE at_unix_ms < ?"
        upto = integer(self._connection, marked, before_unix_ms)
        doomed = self._ids("SELECT id FROM span WHERE id <= ? ORDER BY id LIMIT ?", upto, limit)
        if len(doomed) < limit:
            self._connection.execute("DELETE FROM span_mark WHERE at_unix_ms < ?", (before_unix_ms,))
        return self._delete(doomed, limit)

    def last_id(self) -> int:
        """The id of the span stored last; 0 when there is none."""
        return integer(self._connection, "SELECT coalesce(max(id), 0) FROM span")

    def after(self, span_id: int, max_spans: int, max_bytes: int) -> list[SpanRow]:
        """The spans stored behind one, in order; at least one if any, then until a limit is reached."""
        batch: list[SpanRow] = []
        size = 0
        for row in self._connection.execute(_SELECT + "WHERE s.id > ? ORDER BY s.id LIMIT ?", (span_id, max_spans)):
            found = SpanRow(*row)
            size += len(found.span)
            if batch and size > max_bytes:
                break
            batch.append(found)
        return batch

    def _delete(self, doomed: list[int], limit: int) -> int:
        """Delete the oldest spans; the last of a row of calls also drops resources that nothing names any more."""
        if doomed:
            for target, at in forward_cursor.positions(self._connection).items():
                unsent = len(doomed) - bisect_right(doomed, at.span_id)
                self._connection.execute("UPDATE forward_cursor SET shed = shed + ? WHERE target = ?", (unsent, target))
            self._connection.execute("DELETE FROM span WHERE id <= ?", (doomed[-1],))
            if len(doomed) < limit:
                self._connection.execute(_DELETE_UNNAMED)
        return len(doomed)

    def _resource_id(self, resource: bytes) -> int:
        digest = blake2b(resource, digest_size=16).digest()
        self._connection.execute("INSERT OR IGNORE INTO resource(digest, resource) VALUES(?, ?)", (digest, resource))
        return integer(self._connection, "SELECT id FROM resource WHERE digest = ?", digest)

    def _ids(self, query: str, *values: int) -> list[int]:
        return [row[0] for row in self._connection.execute(query, values)]
