"""The one SQLite file: opening it, and transactions.

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
from motetrace_host.storage.schema import MIGRATIONS, SCHEMA_VERSION, statements

BUSY_TIMEOUT_MS = 10_000


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
    while schema_version(connection) in MIGRATIONS:
        with transaction(connection):
            migration = MIGRATIONS.get(schema_version(connection))  # another process may have been first
            if migration:
                script, version = migration
                for statement in statements(script):
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
