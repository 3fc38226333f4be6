"""The message log as tables that a test can ask in SQL: `message`, one row per message, and `span`, all spans."""

import sqlite3
from pathlib import Path
from typing import Any

from motetrace_host.core.messages.message_spans import MessageSpanEncoder, ShimIdentity
from motetrace_host.core.messages.record import NO_AGE
from motetrace_host.storage.device_lookup import DeviceLookup
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.run_settings import RunSettings
from motetrace_host.storage.span_store import SpanStore

_MESSAGE = """CREATE TEMP TABLE message(id INTEGER PRIMARY KEY, device_id, boot_nonce, seq, trace_id, span_id, flags,
    origin, carrier, topic, qos, received_unix_ns, age_ms, payload_bytes, decision, deliveries)"""
_SPAN = """CREATE TEMP TABLE span(trace_id, span_id, name, start_unix_ns, end_unix_ns, status, resource, scope, span,
    id)"""


def _make(connection: sqlite3.Connection) -> None:
    """Make both, as the database is now; the spans of messages are made as the shim makes them."""
    noted = RunSettings(connection).all()
    devices = DeviceLookup(connection)
    made = MessageSpanEncoder(
        ShimIdentity(noted.get("broker", ""), noted.get("client_id", "")), devices.find, devices.threshold
    )
    messages, spans = [], []
    for entry in MessageLog(connection).entries():
        one, place = entry.record, entry.place
        messages.append(
            (place.device_id, one.boot_nonce if one.numbered else None, one.seq if one.numbered else None,
             one.trace_id, one.span_id, one.flags, entry.origin, one.carrier, place.topic, one.qos,
             one.received_unix_ns, None if one.age_ms == NO_AGE else one.age_ms, one.payload_bytes, one.decision,
             entry.deliveries)
        )  # fmt: skip
        if one.kept:
            spans += made.rows(one, entry.extra)
    spans += SpanStore(connection).after(0, 10**9, 10**12)
    # Only now: these hide the tables of the same name.
    connection.execute(_MESSAGE)
    connection.execute(_SPAN)
    connection.executemany("INSERT INTO message VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", messages)
    connection.executemany("INSERT INTO temp.span VALUES(?,?,?,?,?,?,?,?,?,?)", spans)


def query(path: Path, statement: str, *values: object) -> list[Any]:
    """Ask a database file; nothing when it does not exist yet."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.execute("BEGIN")
        _make(connection)
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def messages(path: Path) -> int:
    """How many messages the log has."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        return MessageLog(connection).count()
    finally:
        connection.close()
