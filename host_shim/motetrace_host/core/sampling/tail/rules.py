"""The tail decision: made for each message again when its stages have had time to report, and then final.

What the head kept and the baseline rate leaves is kept under the head's reason, so that it keeps its `th`. Beyond that
a trace is kept for what happened to it: an error, a loss, slowness, a cold start, a neighbour, a target. The first of
these is the reason, in that order, and no `th` is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.tail import span_facts
from motetrace_host.core.sampling.tail.interesting import TraceFindings
from motetrace_host.core.sampling.threshold import ALWAYS, threshold_bytes

# The strongest first. What a bit is worth is in `span_facts`.
_BY_STRENGTH: Final = (
    (span_facts.ERROR, Reason.ERROR),
    (span_facts.LOST, Reason.LOST),
    (span_facts.SLOW, Reason.SLOW),
    (span_facts.COLD_START, Reason.COLD_START),
    (span_facts.NEIGHBOUR, Reason.NEIGHBOUR),
)


@dataclass(frozen=True, slots=True)
class TailRules:
    """What the tail keeps.

    Attributes:
        errors, lost, cold_start, targeted: all of these.
        slow_ms: traces with a span of this length or longer, 0: no rule.
        before, after: neighbours of what failed or was lost, messages of the same boot, 0: none.
        baseline: threshold for the rest, 0..2**56: of what the head kept, what R >= baseline leaves. 0: all of it.
        wait_s: how long a message waits for its stages before it is decided about, 1..3600.
    """

    errors: bool = True
    lost: bool = True
    cold_start: bool = True
    targeted: bool = True
    slow_ms: int = 0
    before: int = 0
    after: int = 0
    baseline: int = ALWAYS
    wait_s: int = 10

    @property
    def bits(self) -> int:
        """The bits of `span_facts` that keep a trace."""
        wanted = (
            (self.errors, span_facts.ERROR),
            (self.lost, span_facts.LOST),
            (self.slow_ms > 0, span_facts.SLOW),
            (self.cold_start, span_facts.COLD_START),
            (self.before > 0 or self.after > 0, span_facts.NEIGHBOUR),
        )
        return sum(bit for on, bit in wanted if on)


class TailRulesEngine:
    """The rules over what is known; about 0.3 us a message, 0.8 us where its boot lost something."""

    def __init__(self, rules: TailRules, interesting: TraceFindings) -> None:
        self.rules = rules
        self._bits_of = interesting.bits
        self._cut = threshold_bytes(rules.baseline)
        self._targeted = int(Reason.TARGETED) if rules.targeted else 0
        self._reasons = tuple(_strongest(bits & rules.bits) for bits in range(span_facts.ALL + 1))

    def decide(self, trace_id: bytes, head_keep: bool, head_reason: int, device_targeted: bool) -> int:
        """Decide about one message.

        Args:
            trace_id: 16 bytes.
            head_keep, head_reason: from its record.
            device_targeted: by `HeadSampler.targets`, for the time it was received.
        Returns:
            A `Reason` of keeping as a number, or 0: not kept.
        """
        if head_keep and trace_id[9:] >= self._cut:
            return head_reason
        bits = self._bits_of(trace_id)
        if bits:
            reason = self._reasons[bits]
            if reason:
                return reason
        return self._targeted if device_targeted else 0


def _strongest(bits: int) -> int:
    return next((int(reason) for bit, reason in _BY_STRENGTH if bits & bit), 0)
