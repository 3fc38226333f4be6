"""Spans out: the span table as the forwarder's queue. Composes the store and the codec."""

from __future__ import annotations

import sqlite3

from motetrace_host.core.otlp_envelope import join
from motetrace_host.edges import database, otlp
from motetrace_host.edges.span_store import SpanStore

MAX_BATCH_BYTES = 2**20  # before gzip; common backends take 4 MiB and more


def unsent_elsewhere(connection: sqlite3.Connection, target: str) -> dict[str, int]:
    """Former targets, and how many stored spans were never sent there.

    Such spans are not lost, and hold nothing up: they go to the present target, stay readable here, and are shed by
    retention. Why the cursor is kept: named again, that backend gets what it missed, and nothing twice.

    Args:
        target: the present one, "" when there is none.
    """
    with database.translated():
        names = connection.execute("SELECT target FROM forward_cursor WHERE target <> ? ORDER BY target", (target,))
        pending = {name: SpanStore(connection).cursor(name).pending for (name,) in names.fetchall()}
    return {name: spans for name, spans in pending.items() if spans}


class SpanOutbox:
    """The forwarder's `Outbox` for one target; owns its connection.

    Args:
        connection: from `database.connect`, used by nobody else.
        target: names the cursor; the backend's URL as `otlp_forwarder.traces_url` gives it, so that two ways to write
            it are one target.
    """

    def __init__(self, connection: sqlite3.Connection, target: str) -> None:
        self._connection = connection
        self._store = SpanStore(connection)
        self._target = target
        with database.transaction(connection):
            self._store.open_cursor(target)

    def batch(self, max_spans: int) -> tuple[int, int, bytes]:
        """See `otlp_forwarder.Outbox.batch`."""
        with database.translated():
            rows = self._store.unforwarded(self._target, max_spans, MAX_BATCH_BYTES)
        return (len(rows), rows[-1].id, join(rows)) if rows else (0, 0, b"")

    def rejected(self, body: bytes, content_type: str) -> tuple[int, str]:
        """See `otlp_forwarder.Outbox.rejected`."""
        return otlp.partial_success(body, content_type)

    def settle(self, upto: int, *, sent: int, refused: int) -> None:
        """See `otlp_forwarder.Outbox.settle`."""
        with database.transaction(self._connection):
            self._store.settle(self._target, upto, sent=sent, refused=refused)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
