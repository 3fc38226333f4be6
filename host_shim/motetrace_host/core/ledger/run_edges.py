"""Runs of message numbers of one boot: which were lost, and which stand beside a failure. A run is (first, last)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_SEQ: Final = 2**32 - 1
Run = tuple[int, int]


def neighbours(failed: Iterable[Run], before: int, after: int) -> list[Run]:
    """Find the numbers around those that failed or were lost.

    Args:
        failed: runs within 0..2**32-1 of one device and boot, in any order, overlapping or not.
        before, after: how many on each side, 0 or more.
    Returns:
        Sorted runs that do not touch one another; those that failed are not in them.
    Raises:
        ValueError: a run ends before it begins or is out of range, or a count is negative.
    """
    if before < 0 or after < 0:
        raise ValueError(f"{before} before and {after} after; 0 or more")
    bare = merged(failed)
    wide = merged((max(0, first - before), min(MAX_SEQ, last + after)) for first, last in bare)
    return without(wide, bare)


def merged(runs: Iterable[Run]) -> list[Run]:
    """Sort runs and join those that overlap or touch; raises ValueError as `neighbours` does."""
    joined: list[Run] = []
    for first, last in sorted(runs):
        if not 0 <= first <= last <= MAX_SEQ:
            raise ValueError(f"run {first}..{last}; first <= last, within 0..{MAX_SEQ}")
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def without(runs: list[Run], holes: list[Run]) -> list[Run]:
    """Take numbers out of runs; both are as `merged` gives them, and so is what is left."""
    left: list[Run] = []
    at = 0
    for first, last in runs:
        while at < len(holes) and holes[at][1] < first:
            at += 1
        while at < len(holes) and holes[at][0] <= last:
            if first < holes[at][0]:
                left.append((first, holes[at][0] - 1))
            first = holes[at][1] + 1
            if first > last:
                break
            at += 1
        if first <= last:
            left.append((first, last))
    return left
