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
from motetrace_host.storage import hop_reports
from motetrace_host.storage.hop_reports import MAX_PROCESSES, ProcessKey, ProcessReports, ServiceReports

REMEMBERED: Final = 62  # numbers below the highest; with it, what fits into SQLite's integer
MAX_REPORTERS: Final = 1_000
_MASK: Final = (1 << REMEMBERED) - 1


class HopReports(SideTopic):
    """Takes in the reports of stages, and counts each once.

    Args:
        prefix: Of the side topics, such as `motetrace/`.
        counted: What was counted before this start: `storage.hop_reports.load(connection)`.
    """

    def __init__(self, prefix: str, counted: dict[ProcessKey, ProcessReports] | None = None) -> None:
        super().__init__(prefix + "{device_id}/seen")
        self.repeated = 0
        self._counted = {} if counted is None else dict(counted)
        self._changed: dict[ProcessKey, ProcessReports] = {}
        self._forgotten: list[ProcessKey] = []
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
        now = _with(known, report.number, now_ms)
        if now is None:
            assert known is not None  # noqa: S101 (mypy: only what is known repeats)
            self._counted[process] = known
            self.repeated += 1
            return
        self._remember(process, now)
        self._add(ServiceReports(device_id, report.hop, now_ms, report.unnumbered, report.shed))
        self._seen_runs += seen_runs

    def runs(self) -> list[SeenRuns]:
        """What was reported since `committed`."""
        return self._seen_runs

    def save(self, connection: sqlite3.Connection) -> None:
        """Write which reports these were."""
        hop_reports.forget(connection, self._forgotten)
        hop_reports.save(connection, self._changed.items(), self._services.values())

    def committed(self) -> None:
        self._changed.clear()
        self._forgotten.clear()
        self._services.clear()
        self._seen_runs = []

    def _remember(self, process: ProcessKey, now: ProcessReports) -> None:
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
                unnumbered=before.unnumbered + service.unnumbered, shed=before.shed + service.shed
            )
        self._services[key] = service


def _with(known: ProcessReports | None, number: int, now_ms: int) -> ProcessReports | None:
    """Add a number to those of a process; None when it was there before, or is too old to be looked up."""
    if known is None:
        return ProcessReports(number, 0, now_ms)
    ahead = number - known.number
    if ahead > 0:
        below = (known.below << 1 | 1) << (ahead - 1) & _MASK if ahead <= REMEMBERED else 0
        return ProcessReports(number, below, now_ms)
    bit = 1 << -ahead - 1 if -REMEMBERED <= ahead < 0 else 0
    if not bit or known.below & bit:
        return None
    return ProcessReports(known.number, known.below | bit, now_ms)
