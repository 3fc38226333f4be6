"""The latest stats message of each boot, in the one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from motetrace_host.core.wire.device_stats import DeviceStats

MAX_BOOTS: Final = 100_000


# The same seq at the same ticks is the same message once more. An older one, come late, adds only what it adds up.
_SAVE = """
INSERT INTO device_stats VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    more = min(more + excluded.more, 4611686018427387903),
    (last_seq, acked, lost, pending, rtt_ms, ticks_ms, free_bytes, counters, heard_unix_ms) = (
        SELECT max(last_seq, excluded.last_seq),
               iif(excluded.last_seq >= last_seq, excluded.acked, acked),
               iif(excluded.last_seq >= last_seq, excluded.lost, lost),
               iif(excluded.last_seq >= last_seq, excluded.pending, pending),
               iif(excluded.last_seq >= last_seq, excluded.rtt_ms, rtt_ms),
               iif(excluded.last_seq >= last_seq, excluded.ticks_ms, ticks_ms),
               iif(excluded.last_seq >= last_seq, excluded.free_bytes, free_bytes),
               iif(excluded.last_seq >= last_seq, excluded.counters, counters),
               max(heard_unix_ms, excluded.heard_unix_ms))
WHERE NOT (last_seq = excluded.last_seq AND ticks_ms IS excluded.ticks_ms)
"""


_SELECT = (
    "SELECT device_id, boot_nonce, last_seq, more, acked, lost, pending, rtt_ms, ticks_ms, free_bytes, counters,"
    " heard_unix_ms FROM device_stats "
)


def save(connection: sqlite3.Connection, heard: Iterable[tuple[str, DeviceStats, int]]) -> None:
    """Write messages in the order they came: (device id, stats, Unix ms); belongs into a transaction."""
    connection.executemany(
        _SAVE,
        [
            (
                device_id,
                stats.boot_nonce,
                stats.last_seq,
                stats.more,
                stats.acked,
                stats.lost,
                stats.pending,
                stats.rtt_ms,
                stats.ticks_ms,
                stats.free_bytes,
                json.dumps(dict(stats.counters)),
                heard_unix_ms,
            )
            for device_id, stats, heard_unix_ms in heard
        ],
    )


def latest(connection: sqlite3.Connection, device_id: str, boot_nonce: bytes) -> tuple[DeviceStats, int] | None:
    """Give what a boot said last, with the sum of `more` and without `failed` (those are in the ledger), and when.

    None when it said nothing.
    """
    row = connection.execute(_SELECT + "WHERE device_id = ? AND boot_nonce = ?", (device_id, boot_nonce)).fetchone()
    return None if row is None else _said(*row[1:])


def every(
    connection: sqlite3.Connection, device_id: str | None = None
) -> dict[tuple[str, bytes], tuple[DeviceStats, int]]:
    """Give the same of all boots, or all of one device, by device and nonce."""
    if device_id is None:
        rows = connection.execute(_SELECT)
    else:
        rows = connection.execute(_SELECT + "WHERE device_id = ?", (device_id,))
    return {(device, nonce): _said(nonce, *rest) for device, nonce, *rest in rows}


def _said(boot_nonce: bytes, *row: Any) -> tuple[DeviceStats, int]:
    last_seq, more, acked, lost, pending, rtt_ms, ticks_ms, free_bytes, counters, heard_unix_ms = row
    named = tuple(json.loads(counters).items())
    counts = (more, acked, lost, pending, rtt_ms, ticks_ms, free_bytes)
    return DeviceStats(boot_nonce, last_seq, (), *counts, named), heard_unix_ms


def trim_old(connection: sqlite3.Connection, heard_before_unix_ms: int, limit: int = 2_000) -> int:
    """Forget the boots that said nothing since a time, at most `limit` in one call; says how many went."""
    oldest = connection.execute(
        "SELECT device_id, boot_nonce FROM device_stats WHERE heard_unix_ms < ? ORDER BY heard_unix_ms LIMIT ?",
        (heard_before_unix_ms, limit),
    ).fetchall()
    connection.executemany("DELETE FROM device_stats WHERE device_id = ? AND boot_nonce = ?", oldest)
    return len(oldest)


def trim(connection: sqlite3.Connection, limit: int = 2_000, max_boots: int = MAX_BOOTS) -> int:
    """Forget the boots heard longest ago beyond `max_boots`, at most `limit` in one call; says how many went."""
    excess: int = connection.execute("SELECT count(*) FROM device_stats").fetchone()[0] - max_boots
    if excess <= 0:
        return 0
    oldest = connection.execute(
        "SELECT device_id, boot_nonce FROM device_stats ORDER BY heard_unix_ms LIMIT ?", (min(excess, limit),)
    ).fetchall()
    connection.executemany("DELETE FROM device_stats WHERE device_id = ? AND boot_nonce = ?", oldest)
    return len(oldest)
