"""The one SQLite file: opening it, its schema, and transactions.

Connections are in autocommit mode (`isolation_level=None`): a statement outside `transaction()` is its own transaction,
and nothing is ever begun implicitly. Writers take the write lock at the start (BEGIN IMMEDIATE), so two writers queue
for at most `BUSY_TIMEOUT_MS` and never fail half way with a lock upgrade; row ids are therefore also in commit order,
which the forward cursor relies on.

Why synchronous=FULL: a message is acknowledged to the broker right after COMMIT, and WAL with NORMAL may lose the last
commits at a power cut.
Why foreign_keys=OFF: a span may arrive before or without its message, and retention deletes in any order.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from motetrace_host.core.errors import StoreError

BUSY_TIMEOUT_MS = 10_000
SCHEMA_VERSION = 2

_SCHEMA_2 = """
-- Messages (storage/message_log.py): compact records, a block per batch; core/messages/record.py says what is in one.
CREATE TABLE message_block(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    first_unix_ns INTEGER NOT NULL,
    last_unix_ns  INTEGER NOT NULL,
    messages      INTEGER NOT NULL,
    records       BLOB NOT NULL,
    extras        BLOB NOT NULL
);
CREATE TABLE verdict(                              -- of the tail (storage/tail_decisions.py)
    block_id INTEGER PRIMARY KEY,
    reasons  BLOB NOT NULL                         -- one byte per message of the block
);
CREATE TABLE revival(                              -- messages to be sent after the tail had let them go
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    block_id INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    reason   INTEGER NOT NULL
);
CREATE TABLE place(
    id        INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL,
    topic     TEXT NOT NULL,
    template  TEXT NOT NULL,
    UNIQUE(topic, device_id, template)             -- how a topic is read may change with the settings
);
CREATE INDEX place_by_device ON place(device_id);
CREATE TABLE threshold(                            -- what a record's last byte names
    id    INTEGER PRIMARY KEY,                     -- 1..255
    value INTEGER NOT NULL UNIQUE                  -- 0..2**56-1
);
CREATE TABLE delivery(                             -- messages that came again, or have no number
    message_key BLOB PRIMARY KEY,                  -- 16 bytes
    deliveries  INTEGER NOT NULL,
    block_id    INTEGER NOT NULL                   -- retention: goes with this block
) WITHOUT ROWID;
CREATE INDEX delivery_by_block ON delivery(block_id);

-- Ledger (storage/boot_table.py, storage/sqlite_ledger.py): which numbers of which boot were seen at which hop.
CREATE TABLE device_boot(
    device_id          TEXT NOT NULL,
    boot_nonce         BLOB NOT NULL,              -- 5 bytes
    inferred           INTEGER NOT NULL DEFAULT 0, -- 1: the host drew the nonce for firmware that sends a bare seq
    first_seen_unix_ns INTEGER NOT NULL,
    firmware           TEXT,
    birth              TEXT,                       -- JSON of the birth message
    why                TEXT,                       -- of an inferred one: the rule (core/ledger/inferred_boots.py) of it
    PRIMARY KEY(device_id, boot_nonce)
) WITHOUT ROWID;
CREATE TABLE unnumbered(
    device_id    TEXT PRIMARY KEY,
    messages     INTEGER NOT NULL,                 -- without a number: no context, or a foreign one
    duplicates   INTEGER NOT NULL,
    last_unix_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE seen(                                 -- a state is this row and what the log has behind log_id
    id         INTEGER PRIMARY KEY,
    device_id  TEXT NOT NULL,                      -- '' at hops that know only the boot
    boot_nonce BLOB NOT NULL,
    hop        TEXT NOT NULL,
    log_id     INTEGER NOT NULL,                   -- seen_log.id up to which this row has everything
    last_hour  INTEGER NOT NULL,                   -- of the state's last_unix_ms: an index that changes once an hour
    state      BLOB NOT NULL,                      -- core/ledger/seen_numbers.py
    UNIQUE(device_id, boot_nonce, hop)
);
CREATE INDEX seen_by_boot ON seen(boot_nonce);
CREATE INDEX seen_by_age ON seen(last_hour);
CREATE TABLE seen_log(
    id   INTEGER PRIMARY KEY,                      -- one for each batch
    runs BLOB NOT NULL                             -- core/ledger/run_log.py
);
CREATE TABLE hop_report(
    reporter      TEXT NOT NULL,
    process       BLOB NOT NULL,                   -- 8 bytes
    number        INTEGER NOT NULL,                -- the highest that was counted
    below         INTEGER NOT NULL,                -- bit i: number - 1 - i was counted too
    heard_unix_ms INTEGER NOT NULL,
    PRIMARY KEY(reporter, process)
) WITHOUT ROWID;
CREATE TABLE hop_service(                          -- who reports for which hop
    reporter      TEXT NOT NULL,
    hop           TEXT NOT NULL,
    since_unix_ms INTEGER NOT NULL,                -- its first report
    heard_unix_ms INTEGER NOT NULL,                -- its last
    unnumbered    INTEGER NOT NULL,                -- messages that carried no number of ours
    shed          INTEGER NOT NULL,                -- numbers that found no room in the process's memory
    PRIMARY KEY(reporter, hop)
) WITHOUT ROWID;
CREATE TABLE device_stats(
    device_id     TEXT NOT NULL,
    boot_nonce    BLOB NOT NULL,                   -- 5 bytes
    last_seq      INTEGER NOT NULL,                -- the last number that was assigned
    more          INTEGER NOT NULL,                -- failed publishes that no range names, added up
    acked         INTEGER NOT NULL,
    lost          INTEGER NOT NULL,
    pending       INTEGER NOT NULL,
    rtt_ms        INTEGER,                         -- the smallest
    ticks_ms      INTEGER,
    free_bytes    INTEGER,
    counters      TEXT NOT NULL,                   -- JSON object
    heard_unix_ms INTEGER NOT NULL,
    PRIMARY KEY(device_id, boot_nonce)
) WITHOUT ROWID;
CREATE INDEX device_stats_by_age ON device_stats(heard_unix_ms);
CREATE TABLE broker_drop(
    device_id TEXT NOT NULL,                       -- '' where no topic template matched, and beyond the cap
    receiver  TEXT NOT NULL,                       -- client id of whose copy was dropped; '' for none
    event     TEXT NOT NULL,
    reason    TEXT NOT NULL,
    dropped   INTEGER NOT NULL,
    unnamed   INTEGER NOT NULL,                    -- of these, the ones whose number was not visible: not in the ledger
    PRIMARY KEY(device_id, receiver, event, reason)
) WITHOUT ROWID;
CREATE TABLE pending_batch(                        -- where the ledger is shared (pending_batches.py): one or none
    id      INTEGER PRIMARY KEY AUTOINCREMENT,     -- never again the same: the shared ledger names the batch by it
    content BLOB NOT NULL                          -- cluster/pending_batch.py
);
CREATE TABLE shared_ledger(                        -- one row or none
    shim_id TEXT NOT NULL                          -- under which it counts its batches there
);
CREATE TABLE inferred_boot(
    device_id TEXT PRIMARY KEY,
    state     BLOB NOT NULL                        -- of a device that sends a bare seq (core/ledger/inferred_boots.py)
) WITHOUT ROWID;
CREATE TABLE clone(                                -- two devices under one id (core/messages/clones.py)
    device_id     TEXT PRIMARY KEY,
    older         BLOB NOT NULL,                   -- boot nonces, of the pair noticed last
    newer         BLOB NOT NULL,
    times         INTEGER NOT NULL,                -- how often it was noticed
    first_unix_ms INTEGER NOT NULL,
    last_unix_ms  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE rejection(
    device_id TEXT NOT NULL,                       -- '' for devices beyond the cap
    reason    TEXT NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY(device_id, reason)
) WITHOUT ROWID;

-- Spans (storage/span_store.py): OTLP bytes as received or made; also the queue that the forwarder walks by id.
CREATE TABLE resource(
    id       INTEGER PRIMARY KEY,
    digest   BLOB NOT NULL UNIQUE,                 -- blake2b, 16 bytes, of the next column
    resource BLOB NOT NULL                         -- OTLP Resource protobuf
);
CREATE TABLE span(
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id      BLOB NOT NULL,                   -- 16 bytes
    span_id       BLOB NOT NULL,                   -- 8 bytes
    name          TEXT NOT NULL,
    start_unix_ns INTEGER NOT NULL,
    end_unix_ns   INTEGER NOT NULL,
    status        INTEGER NOT NULL,                -- OTLP StatusCode: 0 unset, 1 ok, 2 error
    resource_id   INTEGER NOT NULL,
    scope         BLOB NOT NULL,                   -- OTLP InstrumentationScope protobuf
    span          BLOB NOT NULL,                   -- OTLP Span protobuf
    UNIQUE(trace_id, span_id)
);
CREATE INDEX span_by_resource ON span(resource_id); -- retention asks it which resources nothing names any more
CREATE TABLE span_mark(                            -- how old spans are by our clock: retention goes by it
    at_unix_ms INTEGER PRIMARY KEY,
    span_id    INTEGER NOT NULL                    -- the last one stored by then
);
CREATE TABLE forward_cursor(
    target       TEXT PRIMARY KEY,                 -- URL the spans go to
    span_id_upto INTEGER NOT NULL DEFAULT 0,       -- span.id up to which everything was settled
    block_upto   INTEGER NOT NULL DEFAULT 0,       -- message_block.id likewise
    block_offset INTEGER NOT NULL DEFAULT 0,       -- messages of the next block that were settled
    sent         INTEGER NOT NULL DEFAULT 0,
    refused      INTEGER NOT NULL DEFAULT 0,
    shed         INTEGER NOT NULL DEFAULT 0        -- deleted by retention before they were sent
) WITHOUT ROWID;
CREATE TABLE running(                              -- settings in force, for reports: of the shim that ran last
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter(
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""
# What brings a database from one version to another. Version 1 was before the first release, and no way leads from it.
_MIGRATIONS = {0: (_SCHEMA_2, 2)}


def connect(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """Open the database, creating file (mode 0600), folder (0700) and schema as needed.

    The connection may be made in one thread and used in another, but by one thread at a time.

    Raises:
        StoreError: not a database, from a newer motetrace, or the folder cannot be written; with what to do.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _create(path)
    except OSError as exc:
        raise StoreError(
            f"cannot open the database {path}: {exc.strerror}; choose a folder that this user can write to", retry=False
        ) from exc
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
    try:
        with translated(path):
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE .. COMMIT; rolls back when the body or the commit raises.

    When this returns without an exception, what was written is on disk.

    Raises:
        StoreError: for any sqlite3 error inside, including a full disk (`retry` is True then).
    """
    with translated():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all that is read inside be of one moment, whoever else writes; a transaction under way stays as it is."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def integer(connection: sqlite3.Connection, query: str, *values: int | bytes | str) -> int:
    """The one whole number that a query gives."""
    found: int = connection.execute(query, values).fetchone()[0]
    return found


def translated(path: str | os.PathLike[str] | None = None) -> contextlib.AbstractContextManager[None]:
    """Turn sqlite3's errors into StoreError, for reads outside a transaction."""
    return _Translation(path)


class _Translation:
    """Not a generator: it is around every read of a device that is new, and costs a third of one."""

    __slots__ = ("_path",)

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise _store_error(error, self._path) from error


_TRANSIENT = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_BUSY: f"another process held the write lock for {BUSY_TIMEOUT_MS} ms",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_IOERR: "the disk reported an I/O error; check the disk",
    sqlite3.SQLITE_NOMEM: "out of memory",
}
_LASTING = {
    sqlite3.SQLITE_NOTADB: "this file is not a motetrace database; move it away or choose another state folder",
    sqlite3.SQLITE_CORRUPT: "the database is corrupt; stop motetrace, move the file away, try `sqlite3 FILE .recover`",
    sqlite3.SQLITE_READONLY: "the database is read-only; check owner and mode of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened; check owner and mode of the file and its folder",
}


def _store_error(exc: sqlite3.Error, path: str | os.PathLike[str] | None) -> StoreError:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    where = f" ({path})" if path else ""
    if code in _TRANSIENT:
        return StoreError(f"{_TRANSIENT[code]}{where}: {exc}", retry=True)
    return StoreError(f"{_LASTING.get(code, 'the database refused the work')}{where}: {exc}", retry=False)


def _create(path: Path) -> None:
    """Make an empty file of mode 0600 unless there is a file; SQLite gives -wal and -shm the same mode.

    An existing file is not opened here, and a new one is opened only after its descriptor is closed: closing any
    descriptor of a file drops all locks this process has on it, those of its other connections too, and then another
    process may delete the write-ahead log under them (sqlite.org/howtocorrupt.html, 2.2).
    """
    with _creating, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


_creating = threading.Lock()


def create_tables(connection: sqlite3.Connection) -> None:
    """Bring the schema of a connection up to date where a way leads there; `connect` does it by itself."""
    while schema_version(connection) in _MIGRATIONS:
        with transaction(connection):
            migration = _MIGRATIONS.get(schema_version(connection))  # another process may have been first
            if migration:
                script, version = migration
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={version}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _set_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=OFF")
    create_tables(connection)
    version = schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        by, remedy = "a newer motetrace", "upgrade motetrace or choose another state folder"
    else:
        by, remedy = "a motetrace before its first release", "move the file away or choose another state folder"
    raise StoreError(
        f"{path} was written by {by} (schema {version}, this one reads {SCHEMA_VERSION}); {remedy}", retry=False
    )


def _set_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for the lock when it changes the journal mode, so two first openings could collide.
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version that the file's schema has; 0 when it has none."""
    return integer(connection, "PRAGMA user_version")


def _statements(script: str) -> Iterator[str]:
    # executescript() would commit the open transaction first.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
