"""Each boot of each device, with all that the ledger has of it at any hop: what the reports on devices are made of."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from motetrace_host.core.ledger import boot_merge
from motetrace_host.core.ledger.seen_numbers import REORDER_WINDOW_MS, SeenNumbers
from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.core.verdict import stage_counts
from motetrace_host.core.verdict.hop_status import SHIM, Facts, ReportTimes, WithoutNumber
from motetrace_host.core.verdict.locate import BROKER_DROPPED
from motetrace_host.core.verdict.stage_counts import StageCount
from motetrace_host.core.wire.device_stats import FAILED_HOP, DeviceStats
from motetrace_host.storage import side_tables
from motetrace_host.storage.boot_table import Boot, BootTable

_FEW_BOOTS = 16  # up to this many are looked up one by one; beyond it all boots' stage states are read at once


class Unseen(NamedTuple):
    """How many numbers the device says it assigned above the highest one seen; lost or waiting all together."""

    numbers: int
    lost: bool


@dataclass(slots=True)
class BootReport:
    """One boot; or, without a nonce, a device's messages that had no number.

    Attributes:
        states: by hop. stages: those that report.
        lost, waiting: numbers that the shim does not have, those above the last one seen included (`unseen`).
        failed: publishes that failed on the device. dropped: messages that the broker says it dropped.
        stats: what the boot said last, and when (Unix ms).
        boot: what is known of it beside numbers.
        interleaves: another boot of the device that this one may be a part of; b"" for none.
    """

    device_id: str
    boot_nonce: bytes | None
    seen: int
    duplicates: int
    last_unix_ms: int
    states: Mapping[str, SeenNumbers] = field(default_factory=dict)
    stages: Sequence[StageCount] = ()
    lost: int = 0
    waiting: int = 0
    unseen: Unseen | None = None
    failed: int = 0
    stats: tuple[DeviceStats, int] | None = None
    boot: Boot | None = None
    interleaves: bytes = b""

    @property
    def late(self) -> int:
        """Numbers that came below the highest, and were new."""
        return self.states[SHIM].late if SHIM in self.states else 0

    @property
    def dropped(self) -> int:
        """Messages that the broker says it dropped, of those it could name."""
        return self.states[BROKER_DROPPED].count if BROKER_DROPPED in self.states else 0

    @property
    def inferred(self) -> bool:
        """The host drew the nonce."""
        return self.boot is not None and self.boot.inferred

    @property
    def all_acked(self) -> bool:
        """The device says that the broker acknowledged every publish that did not fail, and which ones failed."""
        if self.stats is None:
            return False
        said = self.stats[0]
        return said.lost == said.pending == said.more == 0 and said.acked + self.failed == said.last_seq

    @property
    def lost_anywhere(self) -> int:
        """Numbers lost before the shim or behind it."""
        return self.lost + sum(stage.lost for stage in self.stages)


def facts_of(connection: sqlite3.Connection, now_unix_ms: int) -> Facts:
    """What holds for every boot."""
    times = {hop: ReportTimes(*one) for hop, one in side_tables.reporting_times(connection).items()}
    unnumbered = {hop: WithoutNumber(*one) for hop, one in side_tables.unnumbered_services(connection).items()}
    return Facts(now_unix_ms, report_times=times, unnumbered=unnumbered)


def gather(
    connection: sqlite3.Connection, store: SeenStore, now_unix_ms: int, device_id: str | None = None
) -> list[BootReport]:
    """Report on all boots, or those of one device; by device, each device's boots in the order in which they began."""
    states = _states(store, device_id)
    stats = side_tables.latest_stats(connection, device_id)
    ledger = BootTable(connection)
    known = {(boot.device_id, boot.boot_nonce): boot for boot in ledger.boots(device_id)}
    facts = facts_of(connection, now_unix_ms)
    reports = [
        _numbered(key, states.get(key, {}), stats.get(key), known.get(key), facts)
        for key in states.keys() | stats.keys()
    ]
    reports += [
        BootReport(one.device_id, None, one.messages, one.duplicates, one.last_unix_ns // 1_000_000)
        for one in side_tables.UNNUMBERED.read(connection, device_id)
    ]
    reports.sort(key=lambda report: (report.device_id, _began(report)))
    _mark_interleaved(reports)
    return reports


def _states(store: SeenStore, device_id: str | None) -> dict[tuple[str, bytes], dict[str, SeenNumbers]]:
    """States by boot; those of hops that know only the nonce go to the device that has it."""
    found: dict[tuple[str, bytes], dict[str, SeenNumbers]] = defaultdict(dict)
    by_nonce: dict[bytes, dict[str, SeenNumbers]] = defaultdict(dict)
    for row in store.read(device_id):
        if row.device_id:
            found[row.device_id, row.boot_nonce][row.hop] = row.seen
        else:
            by_nonce[row.boot_nonce][row.hop] = row.seen
    if device_id is not None:
        nonces = {nonce for _, nonce in found}
        few = len(nonces) <= _FEW_BOOTS
        for row in (row for nonce in nonces for row in store.read("", nonce)) if few else store.read(""):
            by_nonce[row.boot_nonce][row.hop] = row.seen
    for (_, nonce), states in found.items():
        states.update(by_nonce.get(nonce, {}))
    return found


def _numbered(
    key: tuple[str, bytes],
    states: Mapping[str, SeenNumbers],
    stats: tuple[DeviceStats, int] | None,
    boot: Boot | None,
    facts: Facts,
) -> BootReport:
    shim = states.get(SHIM)
    lost, waiting = shim.missing(facts.now_unix_ms) if shim else (0, 0)
    assigned, told_unix_ms = (stats[0].last_seq, stats[1]) if stats else (0, 0)
    behind = max(0, assigned - (shim.highest if shim else 0))
    settled = abs(facts.now_unix_ms - told_unix_ms) > REORDER_WINDOW_MS
    failed = states[FAILED_HOP].count if FAILED_HOP in states else 0
    return BootReport(
        *key,
        shim.count if shim else 0,
        shim.duplicates if shim else 0,
        max([told_unix_ms, *(state.last_unix_ms for state in states.values())]) if shim is None else shim.last_unix_ms,
        states,
        stage_counts.count(states, facts),
        lost + behind * settled,
        waiting + behind * (not settled),
        Unseen(behind, settled) if behind else None,
        failed + (stats[0].more if stats else 0),
        stats,
        boot,
    )


def _began(report: BootReport) -> int:
    if report.boot is not None:
        return report.boot.first_seen_unix_ns // 1_000_000
    return min((state.first_unix_ms for state in report.states.values()), default=report.last_unix_ms)


def _mark_interleaved(reports: Sequence[BootReport]) -> None:
    """Mark inferred boots that look like parts of the inferred boot before them."""
    before: BootReport | None = None
    for report in reports:
        if not report.inferred or SHIM not in report.states:
            continue
        same_device = before is not None and before.device_id == report.device_id
        if before and same_device and boot_merge.interleaved(before.states[SHIM], report.states[SHIM]):
            report.interleaves = before.boot_nonce or b""
        before = report
