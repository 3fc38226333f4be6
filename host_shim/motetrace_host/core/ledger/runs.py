"""A set of message numbers as a flat list: start, end, start, end, ... both inclusive, rising, never touching.

Flat, and not pairs, because the usual case, the next number, is then one comparison and one store.
"""

from __future__ import annotations

from bisect import bisect_left


def add(runs: list[int], seq: int) -> int:
    """Put one number into a set; one that is in it already changes nothing.

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
    """Give the runs as (start, end)."""
    return tuple(zip(runs[::2], runs[1::2], strict=True))
