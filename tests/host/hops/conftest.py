"""A database with the tables of the side topics alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from motetrace_host.edges import broker_drop_store, device_stats_store, hop_report_store


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for store in (hop_report_store, device_stats_store, broker_drop_store):
        connection.executescript(store.SCHEMA)
    yield connection
    connection.close()
