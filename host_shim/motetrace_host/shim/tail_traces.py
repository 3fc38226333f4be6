"""What the tail sampler has in memory of traces: what is known of undecided ones, and the latest verdicts.

Spans come in on the receiver's threads, questions on the forwarder's; a lock parts them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from motetrace_host.core.ledger import runs as seq_runs
from motetrace_host.core.ledger.runs import Run
from motetrace_host.core.messages.record import Record
from motetrace_host.core.sampling.reason import FIRST_KEEP, Reason
from motetrace_host.core.sampling.tail import span_facts
from motetrace_host.core.sampling.tail.interesting import TraceFindings
from motetrace_host.core.sampling.tail.rules import TailRules, TailRulesEngine
from motetrace_host.core.sampling.tail.verdicts import TailDecisions
from motetrace_host.core.spans.span import SpanRow

_MAX_RECONSIDERED: Final = 1_000  # that wait to be looked for


class Reconsider(NamedTuple):
    """Messages of a boot about which something became known: to be looked for among those decided about before."""

    boot_nonce: bytes
    runs: list[Run]
    reason: int


class TailTraces:
    """What is known of traces, taken in from spans and from the ledger, and decisions by it.

    Args:
        threshold: of the head sampler, for spans whose message is not here.
    """

    def __init__(self, rules: TailRules, threshold: int) -> None:
        self._rules = rules
        self._bits = rules.bits
        self._threshold = max(threshold, rules.baseline)
        self._lock = threading.Lock()
        self._interesting = TraceFindings()
        self._engine = TailRulesEngine(rules, self._interesting)
        self._verdicts = TailDecisions()
        self._reconsider: deque[Reconsider] = deque()
        self._reconsider_shed = 0
        self._left_out = 0

    def observe(self, rows: Sequence[SpanRow]) -> None:
        """Take in the facts of stages' spans."""
        with self._lock:
            for row in rows:
                bits = span_facts.facts(row, self._rules.slow_ms) & self._bits
                if bits:
                    self._interesting.add(row.trace_id, bits)
                    reason = self._engine.decide(row.trace_id, False, 0, False)
                    self._again(row.trace_id[:5], [_run(row.trace_id)], reason)
                if bits & span_facts.ERROR:
                    self._neighbours(row.trace_id[:5], [_run(row.trace_id)])

    def add_runs(self, boot_nonce: bytes, runs: list[Run], bit: int, reason: Reason) -> None:
        """Take in what the ledger shows of a boot."""
        if not runs:
            return
        with self._lock:
            self._interesting.add_runs(boot_nonce, runs, bit)
            self._again(boot_nonce, runs, int(reason))
            self._neighbours(boot_nonce, runs)

    def decide(self, messages: Sequence[tuple[Record, bool]]) -> bytes:
        """Decide about messages, each with whether its device was a target then: a `Reason` each, 0 for not kept."""
        reasons = bytearray()
        with self._lock:
            for message, targeted in messages:
                reason = self._engine.decide(message.trace_id, message.kept, message.decision, targeted)
                self._verdicts.note(message.trace_id, reason)
                self._interesting.decided(message.trace_id)
                reasons.append(reason)
        return bytes(reasons)

    def note(self, trace_id: bytes, reason: int) -> None:
        """Take in a verdict that was found elsewhere."""
        with self._lock:
            self._verdicts.note(trace_id, reason)

    def keeps(self, row: SpanRow) -> bool:
        """Whether a span of a stage goes where its message went."""
        with self._lock:
            verdict = self._verdicts.find(row.trace_id)
            if verdict is None:
                # Its message came to another shim, or long ago: by the same rate, and by its own facts.
                bits = self._interesting.bits(row.trace_id) | span_facts.facts(row, self._rules.slow_ms)
                known = bits & self._bits != 0
                verdict = int(known or int.from_bytes(row.trace_id[9:], "big") >= self._threshold)
        self._left_out += not verdict
        return verdict > 0

    def reconsidered(self) -> list[Reconsider]:
        """Take what is to be looked for."""
        with self._lock:
            found = list(self._reconsider)
            self._reconsider.clear()
        return found

    def summary(self) -> dict[str, int]:
        """For the log: spans left out, and what had to go before it was of use."""
        return {
            "spans_left_out": self._left_out,
            "reconsider_shed": self._reconsider_shed,
            "traces_shed": self._interesting.shed_traces,
            "runs_shed": self._interesting.shed_runs,
            "verdicts_forgotten": self._verdicts.forgotten,
        }

    def _again(self, boot_nonce: bytes, runs: list[Run], reason: int) -> None:
        if reason >= FIRST_KEEP and runs:
            if len(self._reconsider) >= _MAX_RECONSIDERED:
                self._reconsider.popleft()
                self._reconsider_shed += 1
            self._reconsider.append(Reconsider(boot_nonce, runs, reason))

    def _neighbours(self, boot_nonce: bytes, failed: list[Run]) -> None:
        if self._rules.before or self._rules.after:
            runs = seq_runs.neighbours(failed, self._rules.before, self._rules.after)
            self._interesting.add_runs(boot_nonce, runs, span_facts.NEIGHBOUR)
            self._again(boot_nonce, runs, int(Reason.NEIGHBOUR))


def _run(trace_id: bytes) -> Run:
    seq = int.from_bytes(trace_id[5:9], "big")
    return seq, seq
