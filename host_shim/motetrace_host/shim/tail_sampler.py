"""The tail sampler: decides about stored messages when their stages have had time to report.

Messages wait on disk, in the blocks that they were written in, and the forwarder asks about a block when it is old
enough. In memory is what is known of traces meanwhile (`tail_traces`). A verdict against a message is taken back when
something becomes known of it later, for as long as KEEP_AFTER_ALL_NS: then it is queued to be sent after all
(`storage/tail_decisions.py`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.core.messages import record
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.tail import span_facts
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.shim.tail_traces import Reconsider, TailTraces
from motetrace_host.storage import database
from motetrace_host.storage.message_log import Block, MessageLog
from motetrace_host.storage.tail_decisions import TailDecisionLog

KEEP_AFTER_ALL_NS: Final = 300 * 10**9
LOSSES_EVERY_NS: Final = 5 * 10**9
REMEMBERED: Final = 100_000  # verdicts that are read again at a start
_STAGE_HOPS: Final = ("rule", "function", "db")
_NS_PER_MS: Final = 1_000_000
_STEP_NS: Final = 10**9

Targets = Callable[[str, bytes, int], bool]
"""Whether a device (id) was an operator's target for a trace-id at a receive time; `HeadSampler.targets`."""


class TailSampler:
    """Decides which stored messages are sent on, and writes the verdicts down; on the forwarder's thread.

    Args:
        connection: from `database.connect`, used by this alone.
        seen: the ledger, which is only read.
        unix_ns: the wall clock.
    Attributes:
        traces: takes spans in, from the receiver's threads, and decides which of them are kept.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        seen: SeenStore,
        rules: TailRules,
        threshold: int,
        targets: Targets,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.rules = rules
        self.traces = TailTraces(rules, threshold)
        self._connection = connection
        self._log = MessageLog(connection)
        self._verdict_log = TailDecisionLog(connection)
        self._seen = seen
        self._targets = targets
        self._unix_ns = unix_ns
        self._devices: dict[int, str] = {}
        self._losses_at = 0
        self._hop_counts: dict[tuple[bytes, str], int] = {}
        self._remember()

    def due(self, block: Block) -> bool:
        """Whether the stages have had their time. A block of the future is due: the clock was set back since."""
        now = self._unix_ns()
        return not now - self.rules.wait_s * 10**9 < block.last_unix_ns < now + _STEP_NS

    def reasons(self, block: Block) -> bytes:
        """Decide about a block, or give what was decided: a `Reason` for each message, 0 for not kept."""
        known = self._verdict_log.find(block.id)
        if known is not None:
            return known
        self._look_for_losses()
        messages = (record.unpack(block.records, at) for at in _offsets(block))
        decided = self.traces.decide(
            [
                (
                    one,
                    self.rules.targeted and self._targets(self._device(one.place), one.trace_id, one.received_unix_ns),
                )
                for one in messages
            ]
        )
        with database.transaction(self._connection):
            self._verdict_log.note(block.id, decided)
        return decided

    def keep_after_all(self) -> None:
        """Look for messages that were let go and of which something became known since."""
        self._look_for_losses()
        wanted = self.traces.reconsidered()
        if not wanted:
            return
        since = self._unix_ns() - KEEP_AFTER_ALL_NS
        with database.transaction(self._connection):
            for block in self._log.newest_blocks():
                if block.last_unix_ns < since:
                    break
                reasons = self._verdict_log.find(block.id)
                if reasons is not None:  # those not decided about yet are in good time
                    self._keep_in(block, bytearray(reasons), wanted)

    def _keep_in(self, block: Block, reasons: bytearray, wanted: Sequence[Reconsider]) -> None:
        kept = []
        for one in wanted:
            for number in record.numbers_with(block.records, one.boot_nonce, record.SEQ_AT):
                found = record.unpack(block.records, number * record.SIZE)
                if not reasons[number] and any(first <= found.seq <= last for first, last in one.runs):
                    reasons[number] = one.reason
                    kept.append((block.id, number, one.reason))
                    self.traces.note(found.trace_id, one.reason)
        if kept:
            self._verdict_log.note(block.id, bytes(reasons))
            self._verdict_log.keep_after_all(kept)

    def _device(self, place: int) -> str:
        device_id = self._devices.get(place)
        if device_id is None:
            if len(self._devices) >= REMEMBERED:
                self._devices.clear()
            device_id = self._devices[place] = self._log.place(place).device_id
        return device_id

    def _look_for_losses(self) -> None:
        """Ask the ledger, now and then, what the stages did not see and what failed there."""
        now = self._unix_ns()
        if abs(now - self._losses_at) < LOSSES_EVERY_NS:
            return
        self._losses_at = now
        with database.translated():
            rows = self._seen.read(device_id="")
        before, self._hop_counts = self._hop_counts, {}
        for row in rows:
            count = row.seen.count + row.seen.missing(now // _NS_PER_MS)[0]
            self._hop_counts[row.boot_nonce, row.hop] = count
            if before.get((row.boot_nonce, row.hop)) == count:
                continue
            if row.hop in _STAGE_HOPS and self.rules.lost:
                lost = [(run.start, run.end) for run in row.seen.missing_runs(now // _NS_PER_MS) if run.lost]
                self.traces.add_runs(row.boot_nonce, lost, span_facts.LOST, Reason.LOST)
            elif row.hop.endswith(".failed") and self.rules.errors:
                self.traces.add_runs(row.boot_nonce, row.seen.runs(), span_facts.ERROR, Reason.ERROR)

    def _remember(self) -> None:
        """Read the latest verdicts again, for spans that come later than the restart."""
        left = REMEMBERED
        with database.translated():
            for block in self._log.newest_blocks():
                reasons = self._verdict_log.find(block.id)
                if reasons is None:
                    continue
                for at, reason in zip(_offsets(block), reasons, strict=False):
                    self.traces.note(record.unpack(block.records, at).trace_id, reason)
                left -= block.messages
                if left <= 0:
                    return


def _offsets(block: Block) -> range:
    return range(0, len(block.records), record.SIZE)
