"""The tail at work: decides about stored messages when their stages have had time to speak.

Nothing waits in memory. Messages wait on disk, in the blocks that they were written in, and the forwarder asks about a
block when it is old enough. In memory is what is known of traces meanwhile (`Interesting`) and the latest verdicts,
which spans that come later follow. A verdict against a message is taken back when something is heard of it later, for
as long as REVIVE_NS: then it is queued to be sent after all (`storage/tail_verdicts.py`).

Spans come in on the receiver's threads, questions on the forwarder's; a lock parts them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from motetrace_host.core.ledger import run_edges
from motetrace_host.core.ledger.run_edges import Run
from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.core.messages import record
from motetrace_host.core.messages.record import Record
from motetrace_host.core.sampling.reason import FIRST_KEEP, Reason
from motetrace_host.core.sampling.tail import span_facts
from motetrace_host.core.sampling.tail.interesting import Interesting
from motetrace_host.core.sampling.tail.rules import TailRules, TailRulesEngine
from motetrace_host.core.sampling.tail.verdicts import Verdicts
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.storage import database
from motetrace_host.storage.message_log import Block, MessageLog
from motetrace_host.storage.tail_verdicts import VerdictLog

REVIVE_NS: Final = 300 * 10**9
LOSSES_EVERY_NS: Final = 5 * 10**9
REMEMBERED: Final = 100_000  # verdicts that are read again at a start
_MAX_CALLS: Final = 1_000  # that wait to be looked for
_STAGE_HOPS: Final = ("rule", "function", "db")
_NS_PER_MS: Final = 1_000_000
_STEP_NS: Final = 10**9

Targets = Callable[[str, bytes, int], bool]
"""Whether a device (id) was an operator's target for a trace-id at a receive time; `HeadSampler.targets`."""


class _Call(NamedTuple):
    """Messages of a boot that something was heard of: to be looked for among those already decided about."""

    boot_nonce: bytes
    runs: list[Run]
    reason: int


class TailSampler:
    """Decides, and remembers.

    Args:
        connection: from `database.connect`, used by this alone, on the forwarder's thread.
        threshold: of the head, for spans whose message is not here.
        unix_ns: the wall clock.
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
        self._bits = rules.bits
        self.left_out = 0
        self.calls_shed = 0
        self._connection = connection
        self._log = MessageLog(connection)
        self._verdict_log = VerdictLog(connection)
        self._seen = seen
        self._threshold = max(threshold, rules.baseline)
        self._targets = targets
        self._unix_ns = unix_ns
        self._lock = threading.Lock()
        self._interesting = Interesting()
        self._sampler = TailRulesEngine(rules, self._interesting)
        self._verdicts = Verdicts()
        self._calls: deque[_Call] = deque()
        self._devices: dict[int, str] = {}
        self._losses_at = 0
        self._hop_counts: dict[tuple[bytes, str], int] = {}
        self._remember()

    def observe(self, rows: Sequence[SpanRow]) -> None:
        """Take in what spans of stages tell; called from the receiver's threads."""
        with self._lock:
            for row in rows:
                bits = span_facts.facts(row, self.rules.slow_ms) & self._bits
                if bits:
                    self._interesting.add(row.trace_id, bits)
                    reason = self._sampler.decide(row.trace_id, False, 0, False)
                    self._call(row.trace_id[:5], [_run(row.trace_id)], reason)
                if bits & span_facts.ERROR:
                    self._neighbours(row.trace_id[:5], [_run(row.trace_id)])

    def summary(self) -> dict[str, int]:
        """For the log: spans left out, and what had to go before it was of use."""
        return {
            "spans_left_out": self.left_out,
            "calls_shed": self.calls_shed,
            "traces_shed": self._interesting.shed_traces,
            "runs_shed": self._interesting.shed_runs,
            "verdicts_forgotten": self._verdicts.forgotten,
        }

    def due(self, block: Block) -> bool:
        """Whether the stages have had their time. A block of the future is due: the clock was set back since."""
        now = self._unix_ns()
        return not now - self.rules.wait_s * 10**9 < block.last_unix_ns < now + _STEP_NS

    def reasons(self, block: Block) -> bytes:
        """Decide about a block, or tell what was decided: a `Reason` for each message, 0 for not kept."""
        known = self._verdict_log.of(block.id)
        if known is not None:
            return known
        self._look_for_losses()
        with self._lock:
            decided = bytes([self._decide(record.unpack(block.records, at)) for at in _offsets(block)])
        with database.transaction(self._connection):
            self._verdict_log.note(block.id, decided)
        return decided

    def keeps(self, row: SpanRow) -> bool:
        """Whether a span of a stage goes where its message went."""
        with self._lock:
            verdict = self._verdicts.about(row.trace_id)
            if verdict is None:
                # Its message came to another shim, or long ago: by the same odds, and by what it tells itself.
                bits = self._interesting.bits(row.trace_id) | span_facts.facts(row, self.rules.slow_ms)
                known = bits & self._bits != 0
                verdict = int(known or int.from_bytes(row.trace_id[9:], "big") >= self._threshold)
        self.left_out += not verdict
        return verdict > 0

    def revive(self) -> None:
        """Look for messages that were let go and of which something was heard since."""
        self._look_for_losses()
        with self._lock:
            calls = list(self._calls)
            self._calls.clear()
        if not calls:
            return
        since = self._unix_ns() - REVIVE_NS
        with database.transaction(self._connection):
            for block in self._log.newest_blocks():
                if block.last_unix_ns < since:
                    break
                reasons = self._verdict_log.of(block.id)
                if reasons is not None:  # those not decided about yet are heard in good time
                    self._revive_in(block, bytearray(reasons), calls)

    def _revive_in(self, block: Block, reasons: bytearray, calls: Sequence[_Call]) -> None:
        revived = []
        for call in calls:
            for number in self._log.numbers_of(block, call.boot_nonce):
                found = record.unpack(block.records, number * record.SIZE)
                if not reasons[number] and any(first <= found.seq <= last for first, last in call.runs):
                    reasons[number] = call.reason
                    revived.append((block.id, number, call.reason))
                    with self._lock:
                        self._verdicts.note(found.trace_id, call.reason)
        if revived:
            self._verdict_log.note(block.id, bytes(reasons))
            self._verdict_log.revive(revived)

    def _decide(self, message: Record) -> int:
        targeted = self.rules.targeted and self._targets(
            self._device(message.place), message.trace_id, message.received_unix_ns
        )
        reason = self._sampler.decide(message.trace_id, message.kept, message.decision, targeted)
        self._verdicts.note(message.trace_id, reason)
        self._interesting.decided(message.trace_id)
        return reason

    def _device(self, place: int) -> str:
        device_id = self._devices.get(place)
        if device_id is None:
            if len(self._devices) >= REMEMBERED:
                self._devices.clear()
            device_id = self._devices[place] = self._log.place(place).device_id
        return device_id

    def _call(self, boot_nonce: bytes, runs: list[Run], reason: int) -> None:
        if reason >= FIRST_KEEP and runs:
            if len(self._calls) >= _MAX_CALLS:
                self._calls.popleft()
                self.calls_shed += 1
            self._calls.append(_Call(boot_nonce, runs, reason))

    def _neighbours(self, boot_nonce: bytes, failed: list[Run]) -> None:
        if self.rules.before or self.rules.after:
            runs = run_edges.neighbours(failed, self.rules.before, self.rules.after)
            self._interesting.add_runs(boot_nonce, runs, span_facts.NEIGHBOUR)
            self._call(boot_nonce, runs, int(Reason.NEIGHBOUR))

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
                self._note(row.boot_nonce, lost, span_facts.LOST, Reason.LOST)
            elif row.hop.endswith(".failed") and self.rules.errors:
                self._note(row.boot_nonce, row.seen.runs(), span_facts.ERROR, Reason.ERROR)

    def _note(self, boot_nonce: bytes, runs: list[Run], bit: int, reason: Reason) -> None:
        if runs:
            with self._lock:
                self._interesting.add_runs(boot_nonce, runs, bit)
                self._call(boot_nonce, runs, int(reason))
                self._neighbours(boot_nonce, runs)

    def _remember(self) -> None:
        """Read the latest verdicts again, for spans that come later than the restart."""
        left = REMEMBERED
        with database.translated():
            for block in self._log.newest_blocks():
                reasons = self._verdict_log.of(block.id)
                if reasons is None:
                    continue
                for at, reason in zip(_offsets(block), reasons, strict=False):
                    self._verdicts.note(record.unpack(block.records, at).trace_id, reason)
                left -= block.messages
                if left <= 0:
                    return


def _offsets(block: Block) -> range:
    return range(0, len(block.records), record.SIZE)


def _run(trace_id: bytes) -> Run:
    seq = int.from_bytes(trace_id[5:9], "big")
    return seq, seq
