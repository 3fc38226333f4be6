"""Message numbers as runs, (first, last), both inclusive.

Two forms: pairs, and a flat list start, end, start, end, ... for sets that grow by one number at a time, because the
usual case, the next number, is then one comparison and one store. Both rise and never touch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

MAX_SEQ: Final = 2**32 - 1
Run = tuple[int, int]
Runs = tuple[Run, ...]


def add(runs: list[int], seq: int) -> int:
    """Put one number into a flat list; one that is in it already changes nothing.

    Args:
        runs: Changed in place; may be empty.
        seq: >= 0.
    Returns:
        By how many runs the set grew: 1, 0, or -1 when two became one.
    """
    at = bisect_left(runs, seq)
    if at % 2 or (at < len(runs) and runs[at] == seq):
        return 0
    follows = at > 0 and runs[at - 1] + 1 == seq
    precedes = at < len(runs) and runs[at] - 1 == seq
    if follows and precedes:
        del runs[at - 1 : at + 1]
        return -1
    if follows:
        runs[at - 1] = seq
        return 0
    if precedes:
        runs[at] = seq
        return 0
    runs[at:at] = (seq, seq)
    return 1


def pairs(runs: list[int]) -> tuple[tuple[int, int], ...]:
    """Give the runs of a flat list as (start, end)."""
    return tuple(zip(runs[::2], runs[1::2], strict=True))


def size(runs: Iterable[Run]) -> int:
    """How many numbers are in runs that do not overlap."""
    return sum(last - first + 1 for first, last in runs)


def within(runs: Iterable[Run], low: int, high: int) -> int:
    """How many numbers of runs that do not overlap are in low..high."""
    return sum(max(0, min(last, high) - max(first, low) + 1) for first, last in runs)


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
