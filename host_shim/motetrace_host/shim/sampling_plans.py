"""What the head sampler decides by, for each device topic, and the numbers under which records name thresholds."""

from __future__ import annotations

import sqlite3

from motetrace_host.core.sampling.head import UNKNOWN, HeadSampler, SamplingPlan
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.database_retry import RetryingReads
from motetrace_host.storage.message_log import MessageLog

MAX_THRESHOLDS = 255  # a record has one byte for it


class SamplingPlans(BatchParticipant):
    """The head sampler's plans, and a number for each threshold that they would write.

    A threshold beyond 255 different ones gets no number, and `th` is not written then: none is better than a wrong one.
    """

    def __init__(self, head: HeadSampler, log: RetryingReads) -> None:
        self.head = head
        self._numbers = {value: number for number, value in log.thresholds().items()}
        self._unsaved: list[tuple[int, int]] = []

    def plan(self, device_id: str, policy: TrustPolicy) -> tuple[SamplingPlan, int]:
        """The plan of a device on a topic, and the number of the threshold it writes, 0 for none."""
        plan = self.head.plan(device_id, policy)
        return plan, self._number(plan.th)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the numbers that the message log does not have yet, with their thresholds."""
        MessageLog(connection).add_thresholds(self._unsaved)

    def committed(self) -> None:
        self._unsaved.clear()

    def _number(self, threshold: int) -> int:
        number = self._numbers.get(threshold, 0)
        if not number and threshold != UNKNOWN and len(self._numbers) < MAX_THRESHOLDS:
            number = self._numbers[threshold] = len(self._numbers) + 1
            self._unsaved.append((number, threshold))
        return number
