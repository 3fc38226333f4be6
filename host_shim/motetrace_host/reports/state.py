"""Opening the state folder of a shim to look at it; a running shim is not disturbed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from motetrace_host.core.store_error import StoreError
from motetrace_host.edges import database
from motetrace_host.reports.report_error import ReportError

DATABASE_NAME = "motetrace.db"


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a state folder.

    Raises:
        ReportError: there is none, or it cannot be read.
    """
    path = folder / DATABASE_NAME
    if not path.exists():
        raise ReportError(
            f"no shim has run on the state folder {folder}; name the one given to `motetrace run` with --state, "
            f"or MOTETRACE_STATE"
        )
    try:
        connection = database.connect(path)
        try:
            with database.translated(path):
                yield connection
        finally:
            connection.close()
    except StoreError as error:
        raise ReportError(str(error)) from error


def clock(unix_ns: int) -> str:
    """A time for a reader's eyes, UTC, to the millisecond."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}Z"
