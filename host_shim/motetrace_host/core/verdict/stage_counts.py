"""What the stages behind the shim saw of one boot, and what of it did not come to them.

Which numbers a stage should have seen is what came out of the nearest hop before it that counts: what the shim has,
what the rule engine has less the filtered and the failed ones, what the function has less the failed ones. Numbers that
a hop further down has are no loss anywhere before it.

Of the numbers above the highest that a stage saw only the time of the last one is known. For those between, time is
taken to run evenly from the stage's last number to the shim's: an estimate, by which numbers are told lost or waiting
until the stage reports higher ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from motetrace_host.core.ledger.runs import MAX_SEQ, Run, merged, size, without
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.verdict.hop_status import SHIM, STAGES, Facts, HopStatus, hop_status


class StageCount(NamedTuple):
    """One stage and boot.

    Attributes:
        seen: numbers it saw; filtered, failed: of these.
        lost: numbers that were due and will not come. waiting: that may still come.
        unsure: of which cannot be told whether they were due or came (`core/verdict/hop_status.py`: stale
            report, before first, no data).
        highest: the highest it saw; None for nothing.
        lost_runs: the lost numbers as (first, last), ascending.
    """

    hop: str
    seen: int
    filtered: int
    failed: int
    lost: int
    waiting: int
    unsure: int
    highest: int | None
    lost_runs: tuple[Run, ...] = ()


def count(states: Mapping[str, SeenNumbers], facts: Facts) -> list[StageCount]:
    """Count for each stage that reports, in the order of the way.

    Args:
        states: of one boot, by hop.
        facts: `received_unix_ms` is not used: a boot has many messages.
    """
    due = _runs(states, SHIM)
    found = []
    for position, hop in enumerate(STAGES):
        if hop not in states and hop not in facts.report_times:
            continue
        came = [run for later in STAGES[position:] for run in _runs(states, later)]
        missing = without(due, merged(came))
        found.append(_count(hop, states, missing, facts))
        if hop in states:
            held_back = merged(_runs(states, hop + ".filtered") + _runs(states, hop + ".failed"))
            due = without(_runs(states, hop), held_back)
    return found


def _count(hop: str, states: Mapping[str, SeenNumbers], missing: list[Run], facts: Facts) -> StageCount:
    lost: list[Run] = []
    waiting = unsure = 0
    state = states.get(hop)
    for (start, end), known in _pieces(missing, state, states.get(SHIM), facts) if missing else ():
        what = hop_status(hop, start, states, known)
        if what is HopStatus.LOST:
            lost.append((start, end))
        elif what is HopStatus.WAITING:
            waiting += end - start + 1
        else:
            unsure += end - start + 1
    return StageCount(
        hop,
        state.count if state else 0,
        _number(states, hop + ".filtered"),
        _number(states, hop + ".failed"),
        size(lost),
        waiting,
        unsure,
        state.highest if state else None,
        tuple(merged(lost)),
    )


def _pieces(
    missing: list[Run], state: SeenNumbers | None, shim: SeenNumbers | None, facts: Facts
) -> Iterator[tuple[Run, Facts]]:
    """The runs, cut where what a stage says of them changes, each with what is known of it."""
    if state is None:
        yield from ((run, facts) for run in missing)
        return
    parts = [((0, state.lowest - 1), facts), *(((start, end), facts) for start, end, _ in state.gaps)]
    ends = [end for _, end in missing]
    for (low, high), known in [*parts, *_above(state, shim, facts)]:
        for start, end in missing[bisect_left(ends, low) :]:
            if start > high:
                break
            if low <= high:
                yield (max(start, low), min(end, high)), known


def _above(state: SeenNumbers, shim: SeenNumbers | None, facts: Facts) -> list[tuple[Run, Facts]]:
    """What lies above the highest of a stage, in two parts: what came to the shim long ago, and lately."""
    settled_unix_ms = facts.now_unix_ms - facts.settle_ms
    if shim is None or shim.highest <= state.highest:
        return [((state.highest + 1, MAX_SEQ), facts)]
    span_ms = max(1, shim.last_unix_ms - state.last_unix_ms)
    share = min(1.0, max(0.0, (settled_unix_ms - state.last_unix_ms) / span_ms))
    if shim.last_unix_ms >= settled_unix_ms:
        share = min(share, 1 - 1 / (shim.highest - state.highest))  # the last one came then, for certain
    upto = state.highest + int(share * (shim.highest - state.highest))
    long_ago = replace(facts, received_unix_ms=max(0, min(shim.last_unix_ms, settled_unix_ms - 1)))
    lately = replace(facts, received_unix_ms=shim.last_unix_ms)
    return [((state.highest + 1, upto), long_ago), ((upto + 1, MAX_SEQ), lately)]


def _runs(states: Mapping[str, SeenNumbers], hop: str) -> list[Run]:
    state = states.get(hop)
    return state.runs() if state else []


def _number(states: Mapping[str, SeenNumbers], hop: str) -> int:
    state = states.get(hop)
    return state.count if state else 0
