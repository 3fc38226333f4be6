"""Databases that are closed again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from motetrace_host.storage import database

Open = Callable[..., sqlite3.Connection]


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[Open]:
    """`open_database(name="motetrace")` gives another connection to `<name>.db` of this test."""
    opened: list[sqlite3.Connection] = []

    def open_one(name: str = "motetrace") -> sqlite3.Connection:
        opened.append(database.connect(tmp_path / f"{name}.db"))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()
