"""The database client's stage."""

from __future__ import annotations

import time
from typing import Self

from opentelemetry.trace import SpanKind, Tracer

from motetrace_host.stages.stage import Stage, Value, count, named


class DbWrite(Stage):
    """A running `db_write` span."""

    _started_ns = 0
    _hop = "db"

    def fail(self, text: str, error_type: str) -> None:
        """Mark the write as failed where the database answers with an error instead of an exception.

        Args:
            text: the database's own words; the first 4096 characters are kept.
            error_type: of low cardinality; one that is digits is the database's status code, and
                db.response.status_code too.
        """
        super().fail(text, error_type)
        if error_type.isdecimal():
            self.span.set_attribute("db.response.status_code", error_type)

    def __enter__(self) -> Self:
        super().__enter__()
        self._started_ns = time.perf_counter_ns()
        return self

    def _finish(self, failed: bool) -> None:
        self.span.set_attribute("db.write_latency_ms", (time.perf_counter_ns() - self._started_ns) / 1e6)
        self.span.set_attribute("db.write_latency_source", "client")
        self.span.set_attribute("db.status", "error" if self._failed else "ok")


def db_write(
    system: str,
    operation: str,
    *,
    namespace: str | None = None,
    collection: str | None = None,
    server: tuple[str, int] | None = None,
    tracer: Tracer | None = None,
) -> DbWrite:
    """Make a `db_write` span (CLIENT) around one write to a database, for use in a `with`; a child of the current span.

    db.write_latency_ms is measured by a monotonic clock from the beginning to the end of the `with`, so put nothing but
    the write inside. db.status is `error` after an exception or `fail`, else `ok`. It counts at the hop `db` as the
    message of the stage around it (see `configure(report=...)`); a write of many messages at once counts as none.

    Args:
        system: db.system.name, such as `influxdb`.  operation: db.operation.name, such as `write`.
        namespace: db.namespace, the database.  collection: db.collection.name, the table or measurement.
        server: host and port (0..65535).
        tracer: default `opentelemetry.trace.get_tracer("motetrace")`.
    Raises:
        TypeError, ValueError: an argument is of another type or out of range.
    Source: docs/spans.md; db.system and db.operation are deprecated names that users search by.
    """
    attributes: dict[str, Value] = {
        "db.system": named("db system", system),
        "db.operation": named("db operation", operation),
    }
    attributes |= {"db.system.name": attributes["db.system"], "db.operation.name": attributes["db.operation"]}
    if namespace is not None:
        attributes["db.namespace"] = named("db namespace", namespace)
    if collection is not None:
        attributes["db.collection.name"] = named("db collection", collection)
    if server is not None:
        attributes["server.address"] = named("server address", server[0])
        attributes["server.port"] = count("server port", server[1], 65535)
    return DbWrite("db_write", SpanKind.CLIENT, attributes, None, False, tracer)
