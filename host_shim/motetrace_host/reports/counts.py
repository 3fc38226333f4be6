"""What each boot of each device left in the ledger, as one row."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from motetrace_host.core.seen import Seen
from motetrace_host.core.seen_store import SeenStore
from motetrace_host.edges.ledger import Ledger

SHIM = "shim"
_NS_PER_MS = 1_000_000


class BootCount(NamedTuple):
    """One boot of a device; or, without a nonce, its messages that had no number.

    Attributes:
        seen: different messages. duplicates: deliveries beyond the first.
        lost: numbers that did not come in time. waiting: those that may still come.
    """

    device_id: str
    boot_nonce: bytes | None
    seen: int
    duplicates: int
    lost: int
    waiting: int
    late: int
    lowest_seq: int | None
    highest_seq: int | None
    last_received_unix_ns: int


def counts(connection: sqlite3.Connection, store: SeenStore, device_id: str | None = None) -> list[BootCount]:
    """All boots, or those of one device; by device, the one heard last behind the others.

    Args:
        store: the ledger of numbers. Messages without one are counted in the database of each shim.
    """
    now_unix_ms = time.time_ns() // _NS_PER_MS
    rows = [
        _numbered(row.device_id, row.boot_nonce, row.seen, now_unix_ms)
        for row in store.read(device_id)
        if row.hop == SHIM
    ]
    rows += [
        BootCount(one.device_id, None, one.messages, one.duplicates, 0, 0, 0, None, None, one.last_unix_ns)
        for one in Ledger(connection).unnumbered(device_id)
    ]
    return sorted(rows, key=lambda row: (row.device_id, row.last_received_unix_ns))


def boots_with(store: SeenStore, device_id: str, seq: int) -> list[bytes]:
    """The boots of a device of which a shim saw this number."""
    return [row.boot_nonce for row in store.read(device_id) if row.hop == SHIM and row.seen.contains(seq)]


def _numbered(device_id: str, boot_nonce: bytes, seen: Seen, now_unix_ms: int) -> BootCount:
    lost, waiting = seen.missing(now_unix_ms)
    return BootCount(
        device_id,
        boot_nonce,
        seen.count,
        seen.duplicates,
        lost,
        waiting,
        seen.late,
        seen.lowest,
        seen.highest,
        seen.last_unix_ms * _NS_PER_MS,
    )
