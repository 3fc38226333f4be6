"""Spans in: from an OTLP request body to committed rows and an answer. Composes receiver, codec and store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import structlog

from motetrace_host.core.errors import StoreError, WireError
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.network import otlp_codec
from motetrace_host.network.otlp_receiver import HttpReply
from motetrace_host.storage import database
from motetrace_host.storage.span_store import SpanStore

RETRY_AFTER_SECONDS = 5
# HTTP status to google.rpc.Code: INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE.
_RPC_CODES = {400: 3, 408: 4, 413: 8, 415: 3, 503: 14}


class SpanIntake:
    """Stores the spans of OTLP requests and words the answers: the receiver's `Intake`. Owns its connection.

    Counters it keeps (table `counter`): `otlp.spans_stored`, `otlp.spans_duplicate`, `otlp.spans_refused.<reason>`,
    `otlp.requests_refused.<reason>`.

    Args:
        connection: from `database.connect`, for this alone.
        on_stored: called after each commit that added spans, with those of the request.
    """

    def __init__(
        self, connection: sqlite3.Connection, on_stored: Callable[[Sequence[SpanRow]], None] | None = None
    ) -> None:
        self._connection = connection
        self._store = SpanStore(connection)
        self._on_stored = on_stored

    def accept(self, body: bytes, content_type: str) -> HttpReply:
        """Store the good spans of a request, answer 200; 400 or 413 for a broken envelope, 503 when the disk fails."""
        try:
            decoded = otlp_codec.decode(body, content_type)
        except WireError as exc:
            return self.refuse(413 if exc.reason == "too_many_spans" else 400, exc.reason, str(exc), content_type)
        try:
            added = self._keep(decoded)
        except StoreError as exc:
            structlog.get_logger().warning("otlp_intake_store", error=str(exc), spans=len(decoded.rows))
            refusal = otlp_codec.refusal(_RPC_CODES[503], str(exc), content_type)
            return HttpReply(503, refusal, RETRY_AFTER_SECONDS)
        if added and self._on_stored:
            self._on_stored(decoded.rows)
        return HttpReply(200, otlp_codec.response(decoded.rejected.total(), decoded.summary(), content_type))

    def refuse(self, status: int, reason: str, message: str, content_type: str) -> HttpReply:
        """Count a refused request and word the answer."""
        try:
            with database.transaction(self._connection):
                self._store.count(f"otlp.requests_refused.{reason}")
        except StoreError as exc:
            structlog.get_logger().warning("otlp_intake_store", error=str(exc), uncounted=reason)
        retry_after = RETRY_AFTER_SECONDS if status == 503 else None
        return HttpReply(status, otlp_codec.refusal(_RPC_CODES[status], message, content_type), retry_after)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _keep(self, decoded: otlp_codec.Decoded) -> int:
        if not decoded.rows and not decoded.rejected:
            return 0
        with database.transaction(self._connection):
            added = self._store.insert(decoded.rows)
            for name, count in (("stored", added), ("duplicate", len(decoded.rows) - added)):
                if count:
                    self._store.count(f"otlp.spans_{name}", count)
            for reason, count in decoded.rejected.items():
                self._store.count(f"otlp.spans_refused.{reason}", count)
        return added
