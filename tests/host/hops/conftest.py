"""A database in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from motetrace_host.storage import database


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    database.create_tables(connection)
    yield connection
    connection.close()
