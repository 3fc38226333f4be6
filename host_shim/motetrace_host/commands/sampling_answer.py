"""Is this report the answer to this wish? The messages have no number in common, so it is told by what they say."""

from __future__ import annotations

from enum import Enum

from motetrace_host.core.sampling.report import REFUSALS, SamplingReport
from motetrace_host.core.sampling.request import INHERIT, SamplingRequest, device_threshold


class RequestOutcome(Enum):
    """APPLIED and REFUSED end the wait; OTHER is a report about something else."""

    APPLIED = 1
    REFUSED = 2
    OTHER = 3


def judge(wish: SamplingRequest, report: SamplingReport) -> RequestOutcome:
    """Judge a report that came after the wish was published (a retained one is older, and no answer).

    A threshold may be one beside ours: firmware that is not our library's may round the other way.
    """
    if report.result in REFUSALS:
        return RequestOutcome.REFUSED
    if report.result != "applied" or report.mode != wish.mode:
        return RequestOutcome.OTHER
    if wish.mode == INHERIT:
        return RequestOutcome.APPLIED
    same_rate = abs(report.threshold - device_threshold(wish)) <= 1
    same_time = 0 < report.left_s <= wish.for_s if wish.for_s else report.left_s == 0
    return RequestOutcome.APPLIED if same_rate and same_time else RequestOutcome.OTHER
