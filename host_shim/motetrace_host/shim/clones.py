"""Two devices under one id, noticed while messages are read, logged once, and written down.

It is asked only when a message's boot is another than that of the device's message before: for all others the cost is
one comparison.
"""

from __future__ import annotations

import sqlite3

from motetrace_host.core.messages import clones
from motetrace_host.core.messages.clones import BootTurns
from motetrace_host.core.printable import printable
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.logging import Log
from motetrace_host.storage.side_tables import CLONES, CloneRow

MAX_LOGGED = 10_000  # device ids that are not logged again; beyond it nothing is logged, but all is written down


class CloneWatch(BatchParticipant):
    """Notices devices that share an id by their boots taking turns, and writes them down."""

    def __init__(self, counters: Counters, log: Log) -> None:
        self._counters = counters
        self._log = log
        self._logged: set[str] = set()
        self._unsaved: dict[str, CloneRow] = {}

    def boot_changed(
        self, device_id: str, turns: BootTurns | None, left: bytes, entered: bytes, received_unix_ns: int
    ) -> BootTurns:
        """Take a message of the boot `entered`, when the device's message before was of the boot `left`.

        Args:
            turns: what the last call for this device returned, None before the first.
        """
        if turns is None:  # when the first boot began does not matter: nothing remembered is older
            turns, _ = clones.observe(None, left, 0)
        at_unix_ms = received_unix_ns // 1_000_000
        turns, pair = clones.observe(turns, entered, at_unix_ms)
        if pair is not None:
            self._notice(device_id, pair, at_unix_ms)
        return turns

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what was noticed."""
        if self._unsaved:
            CLONES.save(connection, self._unsaved.values())

    def committed(self) -> None:
        self._unsaved.clear()

    def _notice(self, device_id: str, pair: clones.Clones, at_unix_ms: int) -> None:
        before = self._unsaved.get(device_id)
        times, first_unix_ms = (before.times + 1, before.first_unix_ms) if before else (1, at_unix_ms)
        self._unsaved[device_id] = CloneRow(device_id, pair.older, pair.newer, times, first_unix_ms, at_unix_ms)
        self._counters.clones += 1
        if device_id in self._logged or len(self._logged) >= MAX_LOGGED:
            return
        self._logged.add(device_id)
        self._log.warning(
            "cloned_device",
            **{"device.id": printable(device_id)},
            boots=[pair.older.hex(), pair.newer.hex()],
            remedy="two devices use this id in turns: give each its own, or look for a copied image or configuration",
        )
