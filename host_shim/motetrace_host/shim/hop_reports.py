"""The side topic on which the stages report what they saw: `<prefix><reporter>/seen`.

A report may come twice: from a broker that repeats, or from a process that did not get the acknowledgement. Its runs
would do no harm, but each number in them would count as a duplicate; so each report is counted once, by its number.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import hop_report
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.storage.side_tables import (
    HOP_PROCESSES,
    HOP_SERVICES,
    MAX_PROCESSES,
    ProcessReports,
    ServiceReports,
)

REMEMBERED: Final = 62  # numbers below the highest; with it, what fits into SQLite's integer
MAX_REPORTERS: Final = 1_000
_MASK: Final = (1 << REMEMBERED) - 1
_Process = tuple[str, bytes]


class HopReports(SideTopic):
    """Takes in the reports of stages, and counts each once.

    Args:
        prefix: Of the side topics, such as `motetrace/`.
        counted: What was counted before this start: `side_tables.counted_reports(connection)`.
    """

    def __init__(self, prefix: str, counted: dict[_Process, ProcessReports] | None = None) -> None:
        super().__init__(prefix + "{device_id}/seen")
        self.repeated = 0
        self._counted = {} if counted is None else dict(counted)
        self._changed: dict[_Process, ProcessReports] = {}
        self._forgotten: list[_Process] = []
        self._reporters: set[str] = set()
        self._services: dict[tuple[str, str], ServiceReports] = {}
        self._seen_runs: list[SeenRuns] = []

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take one report in; `device_id` is the reporter's name.

        Raises:
            WireError: a `seen_*` reason.
        """
        report = hop_report.parse(packet.payload)
        now_ms = received_unix_ns // 1_000_000
        seen_runs = report.seen_runs(now_ms)
        process = (device_id, report.process)
        known = self._counted.pop(
            process, None
        )  # and in again at the end: the one that reported longest ago stays first
        now = _with(known or ProcessReports(*process, 0, 0, 0), report.number, now_ms)
        if now is None:
            assert known is not None  # noqa: S101 (mypy: only what is known repeats)
            self._counted[process] = known
            self.repeated += 1
            return
        self._remember(process, now)
        self._add(ServiceReports(device_id, report.hop, now_ms, now_ms, report.unnumbered, report.shed))
        self._seen_runs += seen_runs

    def runs(self) -> list[SeenRuns]:
        """What was reported since `committed`."""
        return self._seen_runs

    def save(self, connection: sqlite3.Connection) -> None:
        """Write which reports these were."""
        HOP_PROCESSES.delete(connection, self._forgotten)
        HOP_PROCESSES.save(connection, self._changed.values())
        HOP_SERVICES.save(connection, self._services.values())

    def committed(self) -> None:
        self._changed.clear()
        self._forgotten.clear()
        self._services.clear()
        self._seen_runs = []

    def _remember(self, process: _Process, now: ProcessReports) -> None:
        if len(self._counted) >= MAX_PROCESSES:
            oldest = next(iter(self._counted))
            del self._counted[oldest]
            self._changed.pop(oldest, None)
            self._forgotten.append(oldest)
        self._counted[process] = self._changed[process] = now
        if process in self._forgotten:
            self._forgotten.remove(process)

    def _add(self, service: ServiceReports) -> None:
        if service.reporter not in self._reporters and len(self._reporters) >= MAX_REPORTERS:
            service = service._replace(reporter="")  # names are free: they must not fill the table
        self._reporters.add(service.reporter)
        key = service[:2]
        before = self._services.get(key)
        if before is not None:
            service = service._replace(
                since_unix_ms=before.since_unix_ms,
                unnumbered=before.unnumbered + service.unnumbered,
                shed=before.shed + service.shed,
            )
        self._services[key] = service


def _with(known: ProcessReports, number: int, now_ms: int) -> ProcessReports | None:
    """Add a number to those of a process; None when it was there before, or is too old to be looked up."""
    ahead = number - known.number
    if ahead > 0:
        below = (known.below << 1 | 1) << (ahead - 1) & _MASK if known.number and ahead <= REMEMBERED else 0
        return known._replace(number=number, below=below, heard_unix_ms=now_ms)
    bit = 1 << -ahead - 1 if -REMEMBERED <= ahead < 0 else 0
    if not bit or known.below & bit:
        return None
    return known._replace(below=known.below | bit, heard_unix_ms=now_ms)
