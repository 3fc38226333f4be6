"""The families of errors that core defines: by a device, by the operator, and of a store."""

from __future__ import annotations


class WireError(ValueError):
    """A field received from a device is broken.

    Args:
        reason: Snake case and low in cardinality (never device data): it becomes a counter's name
            and the second half of `trace.origin` in `none:<reason>`.
        message: For humans: names the value, the allowed range and the remedy. May quote device
            data only through `repr`, cut short, so that it is safe to print.
    Source: docs/wire-format.md, "Carriers" (what is broken is counted by reason).
    """

    reason: str

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OperatorError(ValueError):
    """What the operator named (a file, a folder, an address) cannot be used; the message says why and what to do."""


class StoreError(Exception):
    """The database could not do what was asked; nothing of the current transaction was kept.

    Attributes:
        retry: True when the same call may succeed later (disk full, file locked, I/O error), False when a person
            has to act first (corrupt file, newer version, read-only folder).
    """

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry
