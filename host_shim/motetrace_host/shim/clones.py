"""Two devices under one id, noticed while messages are read, told once, and written down.

The reader asks only when a message's boot is another than that of the device's message before: one comparison of
pointers for all others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Protocol

from motetrace_host.core.ledger.delta import Delta
from motetrace_host.core.messages import clones
from motetrace_host.core.printable import printable
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.device_topics import BootRun, DeviceBoots
from motetrace_host.storage import clones as clone_store
from motetrace_host.storage.clones import CloneRow

MAX_TOLD = 10_000  # device ids that are not told again; beyond it nothing is logged, but all is written down


class Warn(Protocol):
    """What is needed of a structured logger."""

    def warning(self, event: str, **fields: object) -> object: ...


class CloneWatch:
    """Watches boots take turns. A keeper."""

    def __init__(self, counters: Counters, log: Warn | None = None) -> None:
        self._counters = counters
        self._log = log
        self._told: set[str] = set()
        self._unsaved: dict[str, CloneRow] = {}

    def boot_changed(self, turns: DeviceBoots, run: BootRun, received_unix_ns: int) -> None:
        """Take a message whose boot is not that of the device's message before."""
        before, turns.last = turns.last, run
        if before is None:
            return
        if turns.known is None:  # when the first boot began is never asked: nothing remembered is older
            turns.known, _ = clones.observe(None, before.boot_nonce, 0)
        at_unix_ms = received_unix_ns // 1_000_000
        turns.known, pair = clones.observe(turns.known, run.boot_nonce, at_unix_ms)
        if pair is not None:
            self._notice(run.device_id, pair, at_unix_ms)

    def runs(self) -> Iterable[Delta]:
        """It has no numbers."""
        return ()

    def save(self, connection: sqlite3.Connection) -> None:
        """Keep what was noticed."""
        if self._unsaved:
            clone_store.add(connection, self._unsaved.values())

    def committed(self) -> None:
        """It is on disk."""
        self._unsaved.clear()

    def _notice(self, device_id: str, pair: clones.Clones, at_unix_ms: int) -> None:
        before = self._unsaved.get(device_id)
        times, first_unix_ms = (before.times + 1, before.first_unix_ms) if before else (1, at_unix_ms)
        self._unsaved[device_id] = CloneRow(device_id, pair.older, pair.newer, times, first_unix_ms, at_unix_ms)
        self._counters.clones += 1
        if self._log is None or device_id in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told.add(device_id)
        self._log.warning(
            "cloned_device",
            **{"device.id": printable(device_id)},
            boots=[pair.older.hex(), pair.newer.hex()],
            remedy="two devices use this id in turns: give each its own, or look for a copied image or configuration",
        )
