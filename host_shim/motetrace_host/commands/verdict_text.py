"""Where a message is, in one sentence with its evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from motetrace_host.commands.state_folder import clock
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.printable import printable
from motetrace_host.core.verdict.hop_status import HAD, SHIM, STAGES, Facts, HopStatus, WithoutNumber
from motetrace_host.core.verdict.locate import BROKER_DROPPED, Fate, Neighbours, Verdict

NAMES = {
    "device": "device",
    "broker": "broker",
    "shim": "shim",
    "rule": "rule engine",
    "function": "function",
    "db": "database",
}
SPANS = {"rule": "rule_evaluate", "function": "transform_store", "db": "db_write"}
_REJECTED = "were rejected there with rule.matched=false"


@dataclass(frozen=True, slots=True)
class Case:
    """What was judged, and on what.

    Attributes:
        drops: why the broker dropped messages of this device, by its own words.
    """

    seq: int
    states: Mapping[str, SeenNumbers]
    facts: Facts
    verdict: Verdict
    drops: Sequence[str] = ()


def sentence(case: Case) -> str:
    """Say what became of the message."""
    verdict = case.verdict
    parts = [part for part in (*_history(case), *_missing(case)) if part]
    text = f"{_head(verdict)}: {', '.join(parts)}" if parts else _head(verdict)
    near = _near(verdict)
    text += f"; {near}." if near else "."
    return text + _silent(verdict)


def hops(verdict: Verdict) -> str:
    """What each hop says, in one line."""
    return ", ".join(f"{hop} {_WORDS[verdict.statuses[hop]]}" for hop in (SHIM, *STAGES))


_WORDS = {
    HopStatus.SEEN: "seen",
    HopStatus.FILTERED: "filtered",
    HopStatus.FAILED: "failed",
    HopStatus.LOST: "lost",
    HopStatus.WAITING: "may still come",
    HopStatus.STALE_REPORT: "not heard of since",
    HopStatus.BEFORE_FIRST: "counts from later on",
    HopStatus.FORGOTTEN: "seen or forgotten",
    HopStatus.NO_DATA: "nothing of this boot",
    HopStatus.UNNUMBERED: "got messages without a number",
    HopStatus.SILENT: "sends no reports",
}


def _head(verdict: Verdict) -> str:
    last, missing = NAMES.get(verdict.last, ""), NAMES.get(verdict.missing, "")
    where = {"device": "on the device"}.get(verdict.last, f"at the {last}")
    return {
        Fate.STORED: "STORED",
        Fate.REACHED: f"REACHED the {last}",
        Fate.FILTERED: "FILTERED by the rule, which is no loss",
        Fate.FAILED: f"FAILED {where}",
        Fate.DROPPED: "DROPPED by the broker",
        Fate.LOST: f"LOST between {last} and {missing}",
        Fate.WAITING: f"NOT YET at the {missing}",
        Fate.NOT_SENT: "NOT SENT yet, or lost since",
        Fate.UNCERTAIN: f"UNCERTAIN between {last} and {missing}" if last else "UNCERTAIN whether it was sent",
        Fate.UNKNOWN: "UNKNOWN: nothing is known of this boot",
    }[verdict.fate]


def _history(case: Case) -> Iterator[str]:
    """What is known of the hops that had it, in order."""
    verdict, facts = case.verdict, case.facts
    statuses = verdict.statuses
    if not verdict.last:
        return
    if statuses[SHIM] not in HAD:
        yield from _from_the_device(case)
    if facts.all_acked and facts.assigned is not None and facts.assigned >= case.seq and verdict.last != "device":
        yield "acked by the broker"
    if BROKER_DROPPED in case.states and case.states[BROKER_DROPPED].contains(case.seq):
        yield "dropped by the broker" + (f" ({', '.join(case.drops)})" if case.drops else "")
    if statuses[SHIM] in HAD:
        when = f" {clock(facts.received_unix_ms * 1_000_000)}" if facts.received_unix_ms is not None else ""
        yield f"delivered to the shim{when}"
    for hop in STAGES:
        if statuses[hop] in HAD:
            yield _seen_by(hop, statuses[hop])


def _from_the_device(case: Case) -> Iterator[str]:
    facts = case.facts
    if case.verdict.fate is Fate.FAILED and case.verdict.last == "device":
        yield "its publish raised or was refused, as the device told"
    elif facts.assigned is not None and facts.assigned >= case.seq:
        told = clock(facts.assigned_unix_ms * 1_000_000)
        yield f"numbered by the device, which told {told} that it was at {facts.assigned}"
    else:
        yield "numbered by the device, as higher numbers came"


def _seen_by(hop: str, what: HopStatus) -> str:
    if what is HopStatus.FILTERED:
        return f"seen by {SPANS[hop]} with rule.matched=false"
    return f"seen by {SPANS[hop]}" + (" and failed there" if what is HopStatus.FAILED else "")


def _missing(case: Case) -> Iterator[str]:
    """What is known of the hop that should have it."""
    verdict, hop = case.verdict, case.verdict.missing
    name = SPANS.get(hop, "the shim")
    if verdict.fate is Fate.NOT_SENT:
        yield from _not_sent(case)
    elif verdict.fate in (Fate.LOST, Fate.DROPPED):
        yield f"never seen by {name}"
    elif verdict.fate is Fate.WAITING:
        yield f"not yet seen by {name}, where it may still come"
    elif verdict.fate is Fate.UNCERTAIN:
        yield _doubt(case, hop, name)


def _not_sent(case: Case) -> Iterator[str]:
    highest, at_unix_ms = max((state.highest, state.last_unix_ms) for state in case.states.values())
    yield f"the highest number known of this boot is {highest}, {clock(at_unix_ms * 1_000_000)}"
    if case.facts.assigned is not None:
        told = clock(case.facts.assigned_unix_ms * 1_000_000)
        yield f"and the device told {told} that it was at {case.facts.assigned}"


def _doubt(case: Case, hop: str, name: str) -> str:
    status, state = case.verdict.statuses[hop], case.states.get(hop)
    if status is HopStatus.UNNUMBERED:
        return f"not seen by {name} under its number, and {unnumbered(case.facts.unnumbered[hop])}"
    if status is HopStatus.NO_DATA:
        return f"{name} reports and saw nothing of this boot: it does not follow this topic, or lost all of it"
    if status is HopStatus.FORGOTTEN:
        return f"{name} lost so many numbers that it does not remember which"
    if status is HopStatus.BEFORE_FIRST and state is not None:
        return f"{name} counts this boot from {state.lowest} on: it began to count later, or lost what was before"
    heard = case.facts.report_times.get(hop)
    when = f" since {clock(heard.last_unix_ms * 1_000_000)}" if heard else ""
    return f"{name} has reported nothing{when}: it stands still, or its reports do"


def unnumbered(found: WithoutNumber) -> str:
    """What messages without a number at a hop mean, and what to do about them."""
    services = " and ".join(printable(name) if name else "a service" for name in found.services)
    messages = "1 message" if found.messages == 1 else f"{found.messages} messages"
    return (
        f"{services} got {messages} without a number: somebody before it republishes without the context; publish by "
        "rule.publish, or add stages.inject"
    )


def _near(verdict: Verdict) -> str:
    near = verdict.near
    if near is None:
        return ""
    if verdict.fate is Fate.FAILED and near.seen:
        return f"{near.failed or 'none'} of its {near.seen} neighbours failed there"
    if verdict.fate is Fate.FILTERED and near.seen:
        return f"{near.filtered or 'none'} of its {near.seen} neighbours {_REJECTED}"
    if verdict.fate in (Fate.LOST, Fate.DROPPED, Fate.WAITING):
        return ", ".join(_neighbours(near, verdict.missing))
    return ""


def _neighbours(near: Neighbours, hop: str) -> Iterator[str]:
    """What came through where this message is missing."""
    around = [str(seq) for seq in (near.before, near.after) if seq is not None]
    if around and hop in (SHIM, *STAGES):
        yield f"{' and '.join(around)} {'were' if len(around) > 1 else 'was'} seen there"
    if near.filtered:
        yield f"{near.filtered} of its neighbours {_REJECTED}"
    if near.failed:
        yield f"{near.failed} of its neighbours failed there"


def _silent(verdict: Verdict) -> str:
    """Which hops say nothing: said, and not guessed."""
    names = [NAMES[hop] for hop in verdict.silent]
    if not names:
        return ""
    told = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return f" Not reported: {told} send{'s' if len(names) == 1 else ''} no reports."
