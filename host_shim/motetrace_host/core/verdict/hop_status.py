"""What one hop has of one number: it saw it, lost it, may still get it, or nothing certain.

* A gap is a loss when it has outlived the reorder window.
* Above the highest number of a hop there is no gap that could age; there a message is lost when `settle_ms` have passed
  since it came to the shim, and this hop has reported more than the reorder window after that. Where it has not
  reported since, nothing is known.
* Below the lowest number of a hop a message was lost if the hop reported already before it came; else the hop may have
  begun to count later.
* A hop that reports, but nothing of a boot, may not follow its topic: no loss is claimed.
* A hop that got messages without a number (a service before it republishes without the context) may have got this one:
  its absence proves nothing.
* What a hop forgot (`SeenNumbers.forgotten`) cannot be distinguished from what it saw.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from motetrace_host.core.ledger.seen_numbers import REORDER_WINDOW_MS, SeenNumbers

SHIM: Final = "shim"
STAGES: Final = ("rule", "function", "db")
SETTLE_MS: Final = 30_000
"""The reorder window, and some reports of a stage (every 5 s unless configured otherwise)."""


class HopStatus(Enum):
    """What one hop has of one number."""

    SEEN = "seen"
    FILTERED = "filtered"
    FAILED = "failed"
    LOST = "lost"
    WAITING = "waiting"
    """Not seen; it may still come."""
    STALE_REPORT = "unheard"
    """Above the highest, and the hop has not reported since."""
    BEFORE_FIRST = "before"
    """Below the lowest, and the hop may have begun later."""
    FORGOTTEN = "forgotten"
    """Seen, or one of those that the hop forgot."""
    NO_DATA = "nothing"
    """The hop reports, but nothing of this boot."""
    UNNUMBERED = "unnumbered"
    """Not seen by its number, and the hop got messages that carried none: it may be one of those."""
    SILENT = "silent"
    """The hop sends no reports."""


HAD: Final = frozenset({HopStatus.SEEN, HopStatus.FILTERED, HopStatus.FAILED})


class ReportTimes(NamedTuple):
    """When the first and the last report of a hop came, of any boot, Unix ms."""

    since_unix_ms: int
    last_unix_ms: int


class WithoutNumber(NamedTuple):
    """Messages without a number of ours that services of one hop got, and which services."""

    messages: int
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The evidence beside the ledger's states.

    Attributes:
        now_unix_ms: the clock.
        received_unix_ms: when the shim got this message; None where that is not known any more.
        assigned: the last number that the device reported to have assigned; None: it reported nothing.
        assigned_unix_ms: when it did.
        all_acked: by the same report the broker acknowledged every publish that did not fail.
        report_times: the stages that report, and since when and until when.
        unnumbered: the hops that got messages without a number: they cannot witness that one is missing.
        witnessed: what spans of this message show, by stage: SEEN, FILTERED or FAILED. That there is no span shows
            nothing: it may not have been sampled.
        reorder_window_ms, settle_ms: see above.
    """

    now_unix_ms: int
    received_unix_ms: int | None = None
    assigned: int | None = None
    assigned_unix_ms: int = 0
    all_acked: bool = False
    report_times: Mapping[str, ReportTimes] = field(default_factory=dict)
    unnumbered: Mapping[str, WithoutNumber] = field(default_factory=dict)
    witnessed: Mapping[str, HopStatus] = field(default_factory=dict)
    reorder_window_ms: int = REORDER_WINDOW_MS
    settle_ms: int = SETTLE_MS


def hop_status(hop: str, seq: int, states: Mapping[str, SeenNumbers], facts: Facts) -> HopStatus:
    """Tell what one hop, `shim` or a stage, has of one number."""
    found = _by_number(hop, seq, states, facts)
    absent = found in (HopStatus.LOST, HopStatus.NO_DATA)
    return HopStatus.UNNUMBERED if absent and hop in facts.unnumbered else found


def _by_number(hop: str, seq: int, states: Mapping[str, SeenNumbers], facts: Facts) -> HopStatus:
    if has(states, hop + ".failed", seq):
        return HopStatus.FAILED
    if has(states, hop + ".filtered", seq):
        return HopStatus.FILTERED
    if hop in facts.witnessed:
        return facts.witnessed[hop]
    state = states.get(hop)
    if hop == SHIM and facts.received_unix_ms is not None:
        return HopStatus.SEEN
    if state is None:
        return HopStatus.NO_DATA if hop == SHIM or hop in facts.report_times else HopStatus.SILENT
    if state.contains(seq):
        return HopStatus.FORGOTTEN if state.forgotten else HopStatus.SEEN
    if seq < state.lowest:
        return _below(hop, states, facts)
    if seq > state.highest:
        return _above(hop, seq, states, facts)
    gap = state.gaps[bisect_left(state.gaps, (seq + 1,)) - 1]
    age_ms = abs(facts.now_unix_ms - gap[2])
    return HopStatus.LOST if age_ms > facts.reorder_window_ms else HopStatus.WAITING


def _below(hop: str, states: Mapping[str, SeenNumbers], facts: Facts) -> HopStatus:
    """A number below all that a hop saw: whether it reported already when this came, or when the boot began."""
    times, came_unix_ms = facts.report_times.get(hop), facts.received_unix_ms
    if came_unix_ms is None and SHIM in states:
        came_unix_ms = states[SHIM].first_unix_ms
    reported = times is not None and came_unix_ms is not None and times.since_unix_ms <= came_unix_ms
    return HopStatus.LOST if reported else HopStatus.BEFORE_FIRST


def _above(hop: str, seq: int, states: Mapping[str, SeenNumbers], facts: Facts) -> HopStatus:
    """A number above all that a hop saw: how long ago it was with the hops before."""
    since_unix_ms = _known_since(hop, seq, states, facts)
    if abs(facts.now_unix_ms - since_unix_ms) <= facts.settle_ms:
        return HopStatus.WAITING
    if hop == SHIM:
        return HopStatus.LOST
    times = facts.report_times.get(hop)
    reported = times is not None and times.last_unix_ms - since_unix_ms > facts.reorder_window_ms
    return HopStatus.LOST if reported else HopStatus.STALE_REPORT


def _known_since(hop: str, seq: int, states: Mapping[str, SeenNumbers], facts: Facts) -> int:
    """When this number, or one above it, was last known at another hop or by the device, Unix ms."""
    if facts.received_unix_ms is not None:
        return facts.received_unix_ms
    times = [
        state.last_unix_ms
        for other in (SHIM, *STAGES)
        if other != hop and (state := states.get(other)) is not None and state.highest >= seq
    ]
    if facts.assigned is not None and facts.assigned >= seq:
        times.append(facts.assigned_unix_ms)
    return min(times, default=facts.now_unix_ms)


def has(states: Mapping[str, SeenNumbers], hop: str, seq: int) -> bool:
    """Whether a state has this number for certain."""
    state = states.get(hop)
    return state is not None and state.contains(seq) and not state.forgotten
