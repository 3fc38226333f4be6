"""Why a trace is kept or not: one byte in a record, one value of an attribute, one row in a count."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from motetrace_host.core.spans.span import AttributeValue

FIRST_KEEP: Final = 16
"""A reason is one of keeping when it is this or higher."""


class Reason(IntEnum):
    """0 is undecided, 2..15 not kept, 16..31 kept by the head, 32..63 by the tail. Numbers are on disk: never reuse."""

    UNDECIDED = 0
    UNSAMPLED = 2
    OUTSIDE_RATE = 3
    OVER_LIMIT = 4
    OVER_CAP = 5
    RATE = 16
    LIMITED = 17
    TARGETED = 18
    FLAG = 19
    ERROR = 32
    LOST = 33
    SLOW = 34
    COLD_START = 35
    NEIGHBOUR = 36

    @property
    def word(self) -> str:
        """The value of the attribute `sampling.reason`."""
        return self.name.lower()

    @property
    def keeps(self) -> bool:
        """Whether the trace is kept."""
        return self >= FIRST_KEEP


MEANING: Final = {
    Reason.UNDECIDED: "not decided yet, or kept by no rule of the tail",
    Reason.UNSAMPLED: "the device did not sample it",
    Reason.OUTSIDE_RATE: "outside the host's rate",
    Reason.OVER_LIMIT: "within the host's rate, but the limit of traces a second was used up",
    Reason.OVER_CAP: "the device sampled it, and its share of traces a minute was used up",
    Reason.RATE: "within the host's rate",
    Reason.LIMITED: "within the host's rate and its limit of traces a second",
    Reason.TARGETED: "an operator wants this device's traces",
    Reason.FLAG: "the device sampled it, within its share of traces a minute",
    Reason.ERROR: "a span of it failed",
    Reason.LOST: "the message was lost on its way",
    Reason.SLOW: "a span of it was slow",
    Reason.COLD_START: "a function had to start for it",
    Reason.NEIGHBOUR: "the message before or behind it failed or was lost",
}


def attributes(reason: int, targeted: bool = False) -> dict[str, AttributeValue]:
    """Make what a kept span carries: `sampling.reason`, and `sampling.priority` = 1 where odds alone did not decide.

    Without the priority a sampler downstream would thin out what was kept for a reason, or what an operator wants: a
    targeted device's traces have it too where the rate kept them.
    """
    if reason == Reason.RATE and not targeted:
        return {"sampling.reason": "rate"}
    return {"sampling.reason": Reason(reason).word, "sampling.priority": 1}
