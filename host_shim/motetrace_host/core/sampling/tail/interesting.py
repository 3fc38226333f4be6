"""What is known of a trace before the tail decides about it: by trace-id from spans, by boot and seq from losses.

A trace-id of motetrace begins with boot nonce and seq: a lost message and its neighbours are found by those.
Everything here is bounded; what is dropped before a decision about it is counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from motetrace_host.core.ledger.runs import MAX_SEQ, Run, merged

MAX_RUNS: Final = 256  # of one boot and bit
_Boot = dict[int, list[Run]]


class TraceFindings:
    """Bits of `span_facts` by trace, and by runs of seqs.

    A trace takes at most 250 bytes; a boot 600, and 150 for each run (tests/host/sampling/test_interesting.py).

    Args:
        max_traces: 1 or more; beyond it the trace that was noted longest ago goes.
        max_boots: 1 or more; the same for boots, each with at most 256 runs of a bit, of which the lowest go first.
    """

    def __init__(self, max_traces: int = 100_000, max_boots: int = 20_000) -> None:
        self._max_traces, self._max_boots = max_traces, max_boots
        self._traces: OrderedDict[bytes, int] = OrderedDict()
        self._boots: OrderedDict[bytes, _Boot] = OrderedDict()
        self.shed_traces = 0
        """Traces that were dropped before a decision about them."""
        self.shed_runs = 0
        """The same for runs of seqs."""

    def __len__(self) -> int:
        return len(self._traces)

    def add(self, trace_id: bytes, bits: int) -> None:
        """Note what a span shows; 0 is nothing to note."""
        if not bits:
            return
        traces = self._traces
        traces[trace_id] = traces.pop(trace_id, 0) | bits
        if len(traces) > self._max_traces:
            traces.popitem(last=False)
            self.shed_traces += 1

    def add_runs(self, boot_nonce: bytes, runs: Iterable[Run], bit: int) -> None:
        """Note a bit for runs of seqs of a boot (5 bytes); raises ValueError as `seq_runs.merged` does."""
        boot = self._boots.pop(boot_nonce, {})
        self._boots[boot_nonce] = boot
        joined = merged([*boot.get(bit, ()), *runs])
        surplus = max(0, len(joined) - MAX_RUNS)
        self.shed_runs += surplus
        boot[bit] = joined[surplus:]
        if len(self._boots) > self._max_boots:
            self.shed_runs += sum(map(len, self._boots.popitem(last=False)[1].values()))

    def bits(self, trace_id: bytes) -> int:
        """Everything that is known of a trace."""
        found = self._traces.get(trace_id, 0)
        boot = self._boots.get(trace_id[:5])
        return found if boot is None else found | _bits_at(boot, int.from_bytes(trace_id[5:9], "big"))

    def decided(self, trace_id: bytes) -> None:
        """Forget a trace that was decided about; what comes later is the verdict's business. Runs stay."""
        self._traces.pop(trace_id, None)


def _bits_at(boot: _Boot, seq: int) -> int:
    found = 0
    for bit, runs in boot.items():
        at = bisect_right(runs, (seq, MAX_SEQ)) - 1
        if at >= 0 and seq <= runs[at][1]:
            found |= bit
    return found
