"""What the head of the sampling decides by, for each place, and the numbers under which records name thresholds."""

from __future__ import annotations

from typing import Protocol

from motetrace_host.core.sampling.head import UNKNOWN, HeadSampler, Plan
from motetrace_host.core.wire.trust import Policy

MAX_THRESHOLDS = 255  # a record has one byte for it


class ThresholdLog(Protocol):
    """What is needed of the message log."""

    def thresholds(self) -> dict[int, int]: ...


class SamplingPlans:
    """The head's plans, and a number for each threshold that they would write.

    A threshold beyond 255 different ones gets no number, and `th` is not written then: none is better than a wrong one.
    """

    def __init__(self, head: HeadSampler, log: ThresholdLog) -> None:
        self.head = head
        self._numbers = {value: number for number, value in log.thresholds().items()}
        self._unsaved: list[tuple[int, int]] = []

    def plan(self, device_id: str, policy: Policy) -> tuple[Plan, int]:
        """The plan of a device on a topic, and the number of the threshold it writes, 0 for none."""
        plan = self.head.plan(device_id, policy)
        return plan, self._number(plan.written)

    def unsaved(self) -> list[tuple[int, int]]:
        """Those numbers that the message log does not have yet, with their thresholds."""
        return self._unsaved

    def saved(self) -> None:
        """It has them now."""
        self._unsaved.clear()

    def _number(self, threshold: int) -> int:
        number = self._numbers.get(threshold, 0)
        if not number and threshold != UNKNOWN and len(self._numbers) < MAX_THRESHOLDS:
            number = self._numbers[threshold] = len(self._numbers) + 1
            self._unsaved.append((number, threshold))
        return number
