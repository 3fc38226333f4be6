"""Opening the state folder of a shim to look at it; a running shim is not disturbed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from motetrace_host.cluster import shared_ledger
from motetrace_host.cluster.shared_ledger import LedgerAddress
from motetrace_host.core.errors import OperatorError, StoreError
from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.storage import database
from motetrace_host.storage.run_settings import RunSettings
from motetrace_host.storage.sqlite_ledger import SqliteLedger

DATABASE_NAME = "motetrace.db"
KEY_NAME = "key"


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a state folder.

    Raises:
        OperatorError: there is none, or it cannot be read.
    """
    path = folder / DATABASE_NAME
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OperatorError(
            f"no shim has run on the state folder {folder}; name the one given to `motetrace run` with --state, "
            f"or MOTETRACE_STATE"
        ) from error
    except OSError as error:
        raise not_readable("state folder", folder, str(error.strerror), "--state") from error
    try:
        connection = database.connect(path)
        try:
            with database.translated(path):
                yield connection
        finally:
            connection.close()
    except StoreError as error:
        if not os.access(path, os.R_OK | os.W_OK) or not os.access(folder, os.W_OK):  # SQLite keeps its lock beside it
            raise not_readable("state folder", folder, str(error), "--state") from error
        raise OperatorError(str(error)) from error


def shared_where(connection: sqlite3.Connection) -> LedgerAddress | None:
    """The ledger that the shim which ran last shares with others; None when it had one for itself."""
    return LedgerAddress.of_notes(RunSettings(connection).all())


def seen_store(connection: sqlite3.Connection) -> SeenStore:
    """The ledger of numbers of the shim that ran last.

    Raises:
        OperatorError: it is in Redis, and that cannot be asked.
    """
    where = shared_where(connection)
    if where is None:
        return SqliteLedger(connection)
    try:
        store = shared_ledger.connected(where, "report")
        store.last_batch()
    except (StoreError, OperatorError) as error:
        raise OperatorError(f"the ledger of this shim is {where.url}: {error}") from error
    return store


def not_readable(what: str, path: Path, reason: str, flag: str) -> OperatorError:
    """What to say of a path that this user may not use."""
    owner = _owner(path)
    return OperatorError(
        f"{what} {path}: {reason}; it belongs to {owner}: look as that user, `sudo -u {owner} motetrace ...`, "
        f"or name another with {flag}"
    )


def _owner(path: Path) -> str:
    """Whose the path is, or where that cannot be seen, the nearest folder above: the one that says no."""
    for place in (path, *path.absolute().parents):
        try:
            return place.owner()
        except KeyError:  # a user without a name
            return f"'#{place.stat().st_uid}'"  # as sudo takes it
        except OSError:
            continue
    return "root"


def clock(unix_ns: int) -> str:
    """A time for a reader's eyes, UTC, to the millisecond."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}Z"


def second(unix_ms: int) -> str:
    """A time for a reader's eyes, UTC, to the second."""
    return f"{datetime.fromtimestamp(unix_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def ago(ms: int) -> str:
    """How long ago, in the largest unit that is not zero."""
    for name, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if abs(ms) >= size:
            return f"{ms // size} {name} ago"
    return "just now"
