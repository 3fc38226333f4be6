"""What the storage edge raises, so that nobody above it needs to know SQLite."""

from __future__ import annotations


class StoreError(Exception):
    """The database could not do what was asked; nothing of the current transaction was kept.

    Attributes:
        retry: True when the same call may succeed later (disk full, file locked, I/O error), False when a person
            has to act first (corrupt file, newer version, read-only folder).
    """

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry
