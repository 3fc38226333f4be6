"""Where one message is: the last hop that surely had it, the first that surely had not, and what is known of both.

The path of a reading:

    device ---> broker ---> rule ---> function ---> db
                  |
                  +-------> shim

The shim is a subscriber beside the rule engine, so that it has a message proves that the broker had it, and nothing
about the rule engine. The device reports by its stats, the broker by its events, the stages by their hop reports; each
of them may be silent. `locate` takes what the ledger has of one boot and gives the verdict about one number of it.

What is concluded, and what is not:

* The hop furthest down the path that saw it counts. What a hop before that did not see is a message not counted there,
  and no loss. A failure or a filter at a hop counts only while no hop behind it has the message: it was retried.
* A hop that never reports is passed over, and named: the message may be in it. Nothing is guessed about it.
* When a number that a hop did not see counts as lost there: core/verdict/hop_status.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from motetrace_host.core.ledger.runs import within
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.verdict.hop_status import HAD, SHIM, STAGES, Facts, HopStatus, has, hop_status

DEVICE_FAILED: Final = "device.failed"
BROKER_DROPPED: Final = "broker.dropped"
NEAR: Final = 50
_DOUBTS: Final = frozenset({
    HopStatus.STALE_REPORT, HopStatus.BEFORE_FIRST, HopStatus.FORGOTTEN, HopStatus.NO_DATA, HopStatus.UNNUMBERED,
})  # fmt: skip


class Fate(Enum):
    """What became of a message."""

    STORED = "stored"
    """The database took it."""
    REACHED = "reached"
    """It was at `last`, and no hop behind that reports."""
    FILTERED = "filtered"
    """The rule did not match: no loss."""
    FAILED = "failed"
    """`last` had it and failed: the device's publish, a rule's action, the function, the database's write."""
    DROPPED = "dropped"
    """The broker says that it dropped it, and `missing` does not have it."""
    LOST = "lost"
    """`last` had it, `missing` has not, and it will not come."""
    WAITING = "waiting"
    """`last` had it, `missing` has not yet."""
    NOT_SENT = "not_sent"
    """Above every number that is known of this boot."""
    UNCERTAIN = "uncertain"
    """`last` had it, and the status of `missing` leaves open whether it came there."""
    UNKNOWN = "unknown"
    """Nothing is known of this boot."""


class Neighbours(NamedTuple):
    """The neighbours of a number at one hop.

    Attributes:
        before, after: the nearest numbers it saw, None for none.
        seen, filtered, failed: how many of the `NEAR` numbers on each side it saw, and of those.
    """

    before: int | None
    after: int | None
    seen: int
    filtered: int
    failed: int


class Verdict(NamedTuple):
    """Where a message is.

    Attributes:
        last: the last hop that had it: `device`, `broker`, `rule`, `function` or `db`; "" for none.
        missing: the hop of which it was expected next: `shim` or a stage; "" for none.
        silent: hops behind `last` (and before `missing`) that send no reports.
        sights: what each of shim and stages says.
        near: neighbours at `missing`, else at `last` where that is a hop that counts.
    """

    fate: Fate
    last: str
    missing: str
    silent: tuple[str, ...]
    statuses: Mapping[str, HopStatus]
    near: Neighbours | None


def locate(seq: int, states: Mapping[str, SeenNumbers], facts: Facts) -> Verdict:
    """Give the verdict about one number of one boot.

    Args:
        seq: 0..2**32-1.
        states: of the boot, by hop: `shim`, `rule`, `rule.filtered`, ..., `device.failed`, `broker.dropped`.
            A hop that saw nothing has none.
    Returns:
        The verdict; the same for the same arguments.
    """
    statuses = {hop: hop_status(hop, seq, states, facts) for hop in (SHIM, *STAGES)}
    last = _furthest(seq, states, facts, statuses)
    if not last:
        fate = _unassigned(seq, states, statuses)
        return Verdict(fate, "", SHIM if states else "", (), statuses, _near(SHIM, seq, states))
    dropped = has(states, BROKER_DROPPED, seq)
    ended = _ended(last, seq, states, statuses)
    if ended is not None:
        return Verdict(ended, last, "", (), statuses, _near(last, seq, states))
    missing, silent = _next(last, statuses)
    if not missing:
        return Verdict(Fate.REACHED, last, "", silent, statuses, _near(last, seq, states))
    fate = _fate_of(statuses[missing])
    if dropped and last == "broker" and fate is not Fate.WAITING:
        fate = Fate.DROPPED
    return Verdict(fate, last, missing, silent, statuses, _near(missing, seq, states))


def _furthest(seq: int, states: Mapping[str, SeenNumbers], facts: Facts, statuses: Mapping[str, HopStatus]) -> str:
    """The hop furthest down the path that certainly had the message."""
    for hop in reversed(STAGES):
        if statuses[hop] in HAD:
            return hop
    failed = has(states, DEVICE_FAILED, seq)
    assigned = facts.assigned is not None and facts.assigned >= seq
    if statuses[SHIM] in HAD or has(states, BROKER_DROPPED, seq) or (assigned and facts.all_acked and not failed):
        return "broker"
    # Numbers are assigned in order: one that is above proves it.
    if failed or assigned or any(state.highest > seq >= _first(states) for state in states.values()):
        return "device"
    return ""


def _first(states: Mapping[str, SeenNumbers]) -> int:
    """The lowest number known of a boot: below it nothing says that the boot did not begin there."""
    return min(state.lowest for state in states.values())


def _unassigned(seq: int, states: Mapping[str, SeenNumbers], statuses: Mapping[str, HopStatus]) -> Fate:
    if not states:
        return Fate.UNKNOWN
    forgotten = HopStatus.FORGOTTEN in statuses.values()
    return Fate.UNCERTAIN if forgotten or seq < _first(states) else Fate.NOT_SENT


def _ended(last: str, seq: int, states: Mapping[str, SeenNumbers], statuses: Mapping[str, HopStatus]) -> Fate | None:
    """The fate of a message that was to go no further than `last`."""
    if last == "device":
        return Fate.FAILED if has(states, DEVICE_FAILED, seq) else None
    if last == "broker":
        return None
    if statuses[last] is HopStatus.FAILED:
        return Fate.FAILED
    if statuses[last] is HopStatus.FILTERED:
        return Fate.FILTERED
    return Fate.STORED if last == "db" else None


def _next(last: str, statuses: Mapping[str, HopStatus]) -> tuple[str, tuple[str, ...]]:
    """The first hop behind `last` that has a status for the message, and the silent ones before it.

    What is certain goes before what is doubtful: a rule engine that does not follow this topic proves nothing about a
    function that does.
    """
    behind = _behind(last, statuses)
    speaking = [hop for hop in behind if statuses[hop] is not HopStatus.SILENT]
    certain = [hop for hop in speaking if statuses[hop] not in _DOUBTS]
    missing = next(iter(certain or speaking), "")
    upto = behind.index(missing) if missing else len(behind)
    return missing, tuple(hop for hop in behind[:upto] if statuses[hop] is HopStatus.SILENT)


def _behind(last: str, statuses: Mapping[str, HopStatus]) -> Sequence[str]:
    if last == "device":
        return (SHIM, *STAGES)
    if last == "broker":
        return STAGES if statuses[SHIM] in HAD else (SHIM, *STAGES)
    return STAGES[STAGES.index(last) + 1 :]


def _fate_of(what: HopStatus) -> Fate:
    if what in _DOUBTS:
        return Fate.UNCERTAIN
    return Fate.LOST if what is HopStatus.LOST else Fate.WAITING


def _near(hop: str, seq: int, states: Mapping[str, SeenNumbers]) -> Neighbours | None:
    state = states.get(hop)
    if state is None:
        return None
    runs = state.runs()
    before = max((min(end, seq - 1) for start, end in runs if start < seq), default=None)
    after = min((max(start, seq + 1) for start, end in runs if end > seq), default=None)
    return Neighbours(before, after, *(_within(states.get(hop + part), seq) for part in ("", ".filtered", ".failed")))


def _within(state: SeenNumbers | None, seq: int) -> int:
    """How many numbers around one, without it, a hop saw."""
    if state is None:
        return 0
    low, high = seq - NEAR, seq + NEAR
    return within(state.runs(), low, high) - state.contains(seq)
