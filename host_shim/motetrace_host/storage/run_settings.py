"""The settings of the shim that ran last, for commands that look at its state folder afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping


class RunSettings:
    """The table of settings in force."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note(self, values: Mapping[str, str]) -> None:
        """Replace them, inside the caller's transaction."""
        self._connection.execute("DELETE FROM running")
        self._connection.executemany("INSERT INTO running VALUES(?, ?)", values.items())

    def all(self) -> dict[str, str]:
        """They by name; empty when no shim has run."""
        return dict(self._connection.execute("SELECT name, value FROM running").fetchall())
