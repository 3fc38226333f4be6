"""Where a message is: by table, and against a simulated way of messages of which everything is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.verdict import stage_counts
from motetrace_host.core.verdict.hop_status import (
    HAD,
    SETTLE_MS,
    SHIM,
    STAGES,
    Facts,
    HopStatus,
    ReportTimes,
    WithoutNumber,
)
from motetrace_host.core.verdict.locate import Fate, Verdict, locate

NOW = 1_800_000_000_000
LONG_AGO = NOW - 3_600_000
ALL = {hop: ReportTimes(LONG_AGO - 1_000_000, NOW) for hop in STAGES}


def seen(*runs: tuple[int, int], at: int = LONG_AGO) -> SeenNumbers:
    state = SeenNumbers(*runs[0], at)
    for run in runs[1:]:
        state.add(*run, at)
    return state


def judge(seq: int, facts: Facts | None = None, **states: SeenNumbers) -> Verdict:
    """`rule_filtered` stands for the hop rule.filtered."""
    by_hop = {name.replace("_", "."): state for name, state in states.items()}
    return locate(seq, by_hop, facts or Facts(NOW, report_times=ALL))


WHOLE = seen((1, 100))
GAP = seen((1, 41), (43, 100))
TABLE = [
    # what, states, fate, last, missing
    ("all saw it", {"shim": WHOLE, "rule": WHOLE, "function": WHOLE, "db": WHOLE}, Fate.STORED, "db", ""),
    ("the database rejected it", {"shim": WHOLE, "db": WHOLE, "db_failed": seen((42, 42))}, Fate.FAILED, "db", ""),
    ("the function failed", {"shim": WHOLE, "rule": WHOLE, "function": WHOLE, "function_failed": seen((42, 42)),
                             "db": GAP}, Fate.FAILED, "function", ""),
    ("failed, and went through when it came again", {"shim": WHOLE, "rule": WHOLE, "rule_failed": seen((42, 42)),
                                                     "function": WHOLE, "db": WHOLE}, Fate.STORED, "db", ""),
    ("the rule did not match", {"shim": WHOLE, "rule": WHOLE, "rule_filtered": seen((42, 42)), "function": GAP},
     Fate.FILTERED, "rule", ""),
    ("between broker and rule", {"shim": WHOLE, "rule": GAP, "function": GAP, "db": GAP}, Fate.LOST, "broker", "rule"),
    ("between rule and function", {"shim": WHOLE, "rule": WHOLE, "function": GAP, "db": GAP}, Fate.LOST, "rule",
     "function"),
    ("between function and database", {"shim": WHOLE, "rule": WHOLE, "function": WHOLE, "db": GAP}, Fate.LOST,
     "function", "db"),
    ("not counted at the rule, but stored", {"shim": WHOLE, "rule": GAP, "function": WHOLE, "db": WHOLE}, Fate.STORED,
     "db", ""),
    ("missed by the shim, not by the rule", {"shim": GAP, "rule": WHOLE, "function": GAP}, Fate.LOST, "rule",
     "function"),
    ("between device and shim", {"shim": GAP}, Fate.LOST, "device", "shim"),
    ("never published", {"shim": GAP, "device_failed": seen((42, 42))}, Fate.FAILED, "device", ""),
    ("dropped by the broker", {"shim": GAP, "broker_dropped": seen((42, 42))}, Fate.DROPPED, "broker", "shim"),
    ("the rule's copy dropped", {"shim": WHOLE, "rule": GAP, "broker_dropped": seen((42, 42))}, Fate.DROPPED, "broker",
     "rule"),
    ("a rule that never saw this boot", {"shim": WHOLE}, Fate.UNCERTAIN, "broker", "rule"),
    ("the database is surer than the rule", {"shim": WHOLE, "db": GAP}, Fate.LOST, "broker", "db"),
    ("nothing known", {}, Fate.UNKNOWN, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("states", "fate", "last", "missing"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_way_to_end_has_its_verdict(states: dict[str, SeenNumbers], fate: Fate, last: str, missing: str) -> None:
    verdict = judge(42, **states)
    assert (verdict.fate, verdict.last, verdict.missing) == (fate, last, missing)


def test_hops_that_never_report_are_named_and_nothing_is_guessed_about_them() -> None:
    silent = Facts(NOW)
    verdict = judge(42, silent, shim=WHOLE)
    assert (verdict.fate, verdict.last, verdict.silent) == (Fate.REACHED, "broker", STAGES)
    only_db = Facts(NOW, report_times={"db": ALL["db"]})
    verdict = judge(42, only_db, shim=WHOLE, db=GAP)
    assert (verdict.fate, verdict.missing, verdict.silent) == (Fate.LOST, "db", ("rule", "function"))
    verdict = judge(42, replace(only_db, report_times={"rule": ALL["rule"]}), shim=WHOLE, rule=WHOLE)
    assert (verdict.fate, verdict.last, verdict.silent) == (Fate.REACHED, "rule", ("function", "db"))


def test_a_number_may_still_come_while_its_gap_is_young() -> None:
    young = seen((1, 41), (43, 100), at=NOW - 2_000)
    assert judge(42, shim=young).fate is Fate.WAITING
    assert judge(42, shim=WHOLE, rule=young).fate is Fate.WAITING


def test_above_the_highest_of_a_stage_time_and_its_last_word_decide() -> None:
    upto = seen((1, 41))
    facts = Facts(NOW, received_unix_ms=NOW - SETTLE_MS, report_times=ALL)
    assert judge(42, facts, shim=WHOLE, rule=upto).fate is Fate.WAITING
    facts = replace(facts, received_unix_ms=LONG_AGO)
    assert judge(42, facts, shim=WHOLE, rule=upto).fate is Fate.LOST
    stopped = replace(facts, report_times={"rule": ReportTimes(LONG_AGO - 1_000_000, LONG_AGO + 1_000)})
    verdict = judge(42, stopped, shim=WHOLE, rule=upto)
    assert (verdict.fate, verdict.statuses["rule"]) == (Fate.UNCERTAIN, HopStatus.STALE_REPORT)


def test_below_the_lowest_of_a_stage_it_counts_whether_it_was_heard_before() -> None:
    facts = Facts(NOW, received_unix_ms=LONG_AGO, report_times=ALL)
    late = seen((50, 100))
    assert judge(42, facts, shim=WHOLE, rule=late).fate is Fate.LOST
    verdict = judge(42, replace(facts, report_times={"rule": ReportTimes(LONG_AGO + 1, NOW)}), shim=WHOLE, rule=late)
    assert (verdict.fate, verdict.statuses["rule"]) == (Fate.UNCERTAIN, HopStatus.BEFORE_FIRST)


def test_behind_the_last_message_seen_the_devices_own_word_decides() -> None:
    upto = seen((1, 41))
    assert judge(42, shim=upto).fate is Fate.NOT_SENT
    said = Facts(NOW, assigned=60, assigned_unix_ms=LONG_AGO)
    assert (judge(42, said, shim=upto).fate, judge(61, said, shim=upto).fate) == (Fate.LOST, Fate.NOT_SENT)
    assert judge(42, replace(said, assigned_unix_ms=NOW), shim=upto).fate is Fate.WAITING
    acked = judge(42, replace(said, all_acked=True), shim=upto)
    assert (acked.fate, acked.last, acked.missing) == (Fate.LOST, "broker", "shim")


def test_before_the_first_number_known_nothing_is_claimed() -> None:
    verdict = judge(3, shim=seen((10, 100)))
    assert (verdict.fate, verdict.statuses[SHIM]) == (Fate.UNCERTAIN, HopStatus.BEFORE_FIRST)


def test_what_a_hop_forgot_is_not_taken_for_seen() -> None:
    state = SeenNumbers(1, 1, LONG_AGO)
    for seq in range(3, 3 + 2 * 1_100, 2):
        state.add(seq, seq, LONG_AGO)
    assert state.forgotten and state.contains(2)
    verdict = judge(2, shim=state)
    assert (verdict.fate, verdict.statuses[SHIM]) == (Fate.UNCERTAIN, HopStatus.FORGOTTEN)
    assert judge(2, Facts(NOW, received_unix_ms=LONG_AGO), shim=state).statuses[SHIM] is HopStatus.SEEN


def test_a_span_shows_what_no_report_says_and_its_absence_shows_nothing() -> None:
    facts = Facts(NOW, witnessed={"db": HopStatus.SEEN})
    assert judge(42, facts, shim=WHOLE).fate is Fate.STORED
    facts = Facts(NOW, report_times={"db": ALL["db"]}, witnessed={"rule": HopStatus.SEEN})
    verdict = judge(42, facts, shim=WHOLE, db=GAP)
    assert (verdict.fate, verdict.last, verdict.missing) == (Fate.LOST, "rule", "db")
    assert judge(42, Facts(NOW, witnessed={"rule": HopStatus.FILTERED}), shim=WHOLE).fate is Fate.FILTERED


def test_neighbours_are_counted_where_the_message_is_missing() -> None:
    rule, filtered = seen((1, 41), (43, 200)), seen((10, 20), (60, 89))
    near = judge(42, shim=seen((1, 200)), rule=rule, rule_filtered=filtered).near
    assert near == (41, 43, 41 + 50, 11 + 30, 0)


# A way on which everything is known.

WHERE = ("device", "broker", "shim", *STAGES)


@dataclass(frozen=True)
class Truth:
    """What became of one message: `end` is the last of device, broker, rule, function, db that had it."""

    end: str
    how: str  # "failed", "filtered", "lost", "dropped", "stored"
    shim_saw: bool


CHAIN = ("device", "broker", *STAGES)
ENDS = st.one_of(
    st.builds(Truth, st.just("device"), st.sampled_from(["failed", "lost"]), st.just(False)),
    st.builds(Truth, st.just("broker"), st.sampled_from(["lost", "dropped"]), st.booleans()),
    st.builds(Truth, st.just("rule"), st.sampled_from(["failed", "filtered", "lost"]), st.booleans()),
    st.builds(Truth, st.just("function"), st.sampled_from(["failed", "lost"]), st.booleans()),
    st.builds(Truth, st.just("db"), st.sampled_from(["failed", "stored"]), st.booleans()),
)
STORED = Truth("db", "stored", True)


def had(truth: Truth, hop: str) -> bool:
    return truth.shim_saw if hop == SHIM else CHAIN.index(hop) <= CHAIN.index(truth.end)


def ledger(messages: dict[int, Truth], reporting: Iterable[str]) -> dict[str, SeenNumbers]:
    """What the ledger has when all that report have reported."""
    states: dict[str, SeenNumbers] = {}

    def tell(hop: str, seq: int) -> None:
        if hop in states:
            states[hop].add(seq, seq, LONG_AGO)
        else:
            states[hop] = SeenNumbers(seq, seq, LONG_AGO)

    for seq, truth in messages.items():
        for hop in (SHIM, *STAGES):
            if had(truth, hop) and (hop == SHIM or hop in reporting):
                tell(hop, seq)
        if truth.how in ("failed", "filtered", "dropped") and (truth.end not in STAGES or truth.end in reporting):
            tell(f"{truth.end}.{truth.how}", seq)
    return states


@settings(max_examples=300, deadline=None)
@given(st.lists(ENDS, min_size=1, max_size=8), st.sets(st.sampled_from(STAGES)))
def test_the_verdict_is_what_happened_as_narrow_as_the_reports_allow(fates: list[Truth], reporting: set[str]) -> None:
    # The first and the last message of the boot went through, so that nothing lies at an edge.
    messages = dict(enumerate([STORED, *fates, STORED], 1))
    facts = Facts(NOW, report_times={hop: ALL[hop] for hop in reporting})
    states = ledger(messages, reporting)
    for seq, truth in messages.items():
        found = locate(seq, states, facts)
        assert_true(found, truth)
        assert found == locate(seq, states, facts)
        # As narrow as it can be: no hop that reports stands between.
        if found.fate in (Fate.LOST, Fate.DROPPED, Fate.REACHED):
            ends = CHAIN.index(found.missing) if found.missing in CHAIN else None
            between = CHAIN[CHAIN.index(found.last) + 1 : ends]
            assert found.missing == SHIM or not reporting.intersection(between), found


def assert_true(found: Verdict, truth: Truth) -> None:
    """Nothing that is claimed may be false."""
    assert found.fate not in (Fate.WAITING, Fate.NOT_SENT, Fate.UNKNOWN, Fate.UNCERTAIN)
    assert had(truth, found.last)
    if found.fate is Fate.STORED:
        assert truth.how == "stored"
    elif found.fate is Fate.DROPPED:
        assert truth.how == "dropped" and not had(truth, found.missing)
    elif found.fate in (Fate.FAILED, Fate.FILTERED):
        assert (truth.end, truth.how) == (found.last, found.fate.value)
    elif found.fate is Fate.LOST:
        assert not had(truth, found.missing)
        assert found.missing == SHIM or truth.how != "dropped"
    for hop, status in found.statuses.items():
        if status in HAD:
            assert had(truth, hop)
        if status is HopStatus.LOST:
            assert not had(truth, hop)


@settings(max_examples=200, deadline=None)
@given(st.lists(ENDS, min_size=1, max_size=12), st.sets(st.sampled_from(STAGES)))
def test_the_counts_of_a_stage_are_the_verdicts_counted(fates: list[Truth], reporting: set[str]) -> None:
    messages = dict(enumerate([STORED, *fates, STORED], 1))
    facts = Facts(NOW, report_times={hop: ALL[hop] for hop in reporting})
    states = ledger(messages, reporting)
    counts = {count.hop: count for count in stage_counts.count(states, facts)}
    assert set(counts) == reporting
    for hop, count in counts.items():
        assert count.seen == sum(had(truth, hop) for truth in messages.values())
        assert count.failed == sum((truth.end, truth.how) == (hop, "failed") for truth in messages.values())
        assert (count.waiting, count.unsure) == (0, 0)
        verdicts = [locate(seq, states, facts) for seq in messages]
        lost = [found for found in verdicts if found.missing == hop and found.fate in (Fate.LOST, Fate.DROPPED)]
        assert count.lost == len(lost)


def test_what_is_above_a_stage_is_lost_as_far_as_it_came_long_ago_and_waits_as_far_as_it_came_lately() -> None:
    shim = SeenNumbers(1, 100, NOW - 100_000)
    rule = SeenNumbers(1, 100, NOW - 100_000)
    shim.add(101, 200, NOW - 1_000)  # one a second
    (count, *_) = stage_counts.count(
        {"shim": shim, "rule": rule}, Facts(NOW, report_times={"rule": ReportTimes(1, NOW)})
    )
    assert (count.lost, count.waiting, count.unsure) == (70, 30, 0)
    (count, *_) = stage_counts.count(
        {"shim": shim, "rule": rule}, Facts(NOW, report_times={"rule": ReportTimes(1, NOW - 95_000)})
    )
    assert (count.lost, count.waiting, count.unsure) == (0, 30, 70)


@pytest.mark.parametrize("function", [GAP, None], ids=["other numbers", "no number"])
def test_a_hop_that_got_messages_without_a_number_is_not_accused(function: SeenNumbers | None) -> None:
    facts = Facts(NOW, report_times=ALL, unnumbered={"function": WithoutNumber(225, ("my-func",))})
    states = {"shim": WHOLE, "rule": WHOLE} | ({"function": function} if function else {})
    verdict = judge(42, facts, **states)
    assert (verdict.fate, verdict.last, verdict.missing) == (Fate.UNCERTAIN, "rule", "function")
    assert verdict.statuses["function"] is HopStatus.UNNUMBERED
    counted = {stage.hop: (stage.lost, stage.unsure) for stage in stage_counts.count(states, facts)}
    assert counted["function"] == (0, 1 if function else 100)


def test_what_a_hop_saw_by_its_number_stays_seen_whatever_else_it_got() -> None:
    facts = Facts(NOW, report_times=ALL, unnumbered=dict.fromkeys(STAGES, WithoutNumber(1, ("s",))))
    verdict = judge(42, facts, shim=WHOLE, rule=WHOLE, function=WHOLE, db=WHOLE)
    assert verdict.fate is Fate.STORED
