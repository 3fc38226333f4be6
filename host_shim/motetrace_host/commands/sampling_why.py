"""Which stage drops a device's traces: each in the order they pass it, with a verdict and the numbers behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from fractions import Fraction
from typing import Final, NamedTuple

from motetrace_host.commands import duration
from motetrace_host.commands.retained_state import Words
from motetrace_host.commands.shim_view import ShimView
from motetrace_host.core.printable import printable
from motetrace_host.core.sampling import request
from motetrace_host.core.sampling.reason import FIRST_KEEP, Reason
from motetrace_host.core.sampling.report import REFUSALS, SamplingReport
from motetrace_host.core.sampling.request import INHERIT, SamplingRequest, device_threshold
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, format_rate, rate_of
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.sampling_topics import NO_END

_SECOND_NS: Final = 10**9


class Effect(Enum):
    """What a stage does to the traces of this device."""

    PASSES = "passes"
    THINS = "thins"
    BLOCKS = "BLOCKS"
    ADDS = "adds"
    UNKNOWN = "unknown"


class TraceStage(NamedTuple):
    """One line. `remedy` may name `{device}`; `dropped`: share of the messages that it leaves out, as counted."""

    name: str
    verdict: Effect
    text: str
    remedy: str = ""
    dropped: float = 0.0


def stages(words: Words, view: ShimView | None) -> list[TraceStage]:
    """Judge each stage.

    Args:
        words: what the broker keeps of the device. Its wish is the shim's target too, where the view names none.
        view: what the shim knows; None: there is no shim here, or it never heard of the device.
    """
    if view is not None and not view.target_until_unix_ns:
        view = replace(view, target_until_unix_ns=words.target_until_unix_ns)
    found = [_request(words), _device(words, view)]
    if view is None:
        return [
            *found,
            TraceStage("shim", Effect.UNKNOWN, "nothing is known here", "ask on the shim's machine, with --state"),
        ]
    return [*found, _received(view), *_head(view), _tail(view), _sending(view)]


def culprit(found: Sequence[TraceStage]) -> TraceStage | None:
    """The stage that is to blame: the first that blocks, else the one that leaves out most, None: no stage does."""
    for stage in found:
        if stage.verdict is Effect.BLOCKS:
            return stage
    thinning = [stage for stage in found if stage.verdict is Effect.THINS]
    return max(thinning, key=lambda stage: stage.dropped, default=None)


def render(device_id: str, found: Sequence[TraceStage], faults: Sequence[str] = ()) -> str:
    """Write all stages, the one to blame marked, and what to do about it."""
    blamed = culprit(found)
    lines = [f"{printable(device_id)}: what becomes of its traces"]
    for stage in found:
        mark = ">" if stage is blamed else " "
        lines.append(f"{mark} {stage.name:9} {stage.verdict.value:7}  {stage.text}")
    lines += [f"  note: {printable(fault)}" for fault in faults]
    lines += ["", _conclusion(device_id, found, blamed)]
    return "\n".join(lines) + "\n"


def _conclusion(device_id: str, found: Sequence[TraceStage], blamed: TraceStage | None) -> str:
    if blamed is not None:
        remedy = (blamed.remedy or blamed.text).replace("{device}", printable(device_id))
        does = "Nothing gets past" if blamed.verdict is Effect.BLOCKS else "Most are left out at"
        return f'{does} "{blamed.name}": {remedy}.'
    if any(stage.verdict is Effect.UNKNOWN for stage in found):
        return "No stage is known to drop its traces, but not all could be asked."
    return "No stage drops its traces."


def _request(words: Words) -> TraceStage:
    wish = words.wish
    if wish is None:
        return TraceStage("request", Effect.PASSES, "nobody asked for anything")
    asked = f"{wish.mode}, {format_rate(wish.rate)}" if wish.mode == request.ON else wish.mode
    asked += f" for {duration.format(wish.for_s)}" if wish.for_s else " without end"
    applied = words.report is not None and (
        judge(wish, words.report) is RequestOutcome.APPLIED or words.report.result == "expired"
    )
    if not applied:
        return TraceStage("request", Effect.UNKNOWN, f"{asked}; the device did not report that it applied this")
    if wish.mode == request.OFF and words.report is not None and words.report.result == "applied":
        remedy = "an operator asked for this: motetrace sampling clear {device}"
        return TraceStage("request", Effect.BLOCKS, f"{asked}; the device applied it", remedy, 1.0)
    return TraceStage("request", Effect.PASSES, f"{asked}; the device applied it")


def _device(words: Words, view: ShimView | None) -> TraceStage:
    threshold, source = _samples_by(words)
    sampled = "" if view is None or not view.received else f"; {_share_sampled(view)}"
    if threshold is None:
        text = "no report and no birth message with the broker" + sampled
        if view is not None and view.received and _unsampled(view) == view.received:
            return TraceStage(
                "device", _unless_targeted(view), text, "the device samples nothing: see its threshold", 1.0
            )
        return TraceStage("device", Effect.UNKNOWN, text)
    rate = Fraction(65_536 - threshold, 65_536)
    text = f"samples {format_rate(rate)} ({source}){sampled}"
    if threshold == 0:
        return TraceStage("device", Effect.PASSES, text)
    remedy = (
        f"the device itself samples {format_rate(rate)}; motetrace sampling set {{device}} --rate 100% asks for more"
    )
    verdict = _unless_targeted(view) if threshold == 65_536 else Effect.THINS
    return TraceStage("device", verdict, text, remedy, float(1 - rate))


def _samples_by(words: Words) -> tuple[int | None, str]:
    report, birth = words.report, words.birth
    if report is not None and (birth is None or birth.boot_nonce in (b"", report.boot_nonce)):
        left = f", {duration.format(report.left_s)} left then" if report.left_s else ""
        return report.threshold, f"report of boot {report.boot_nonce.hex()}: {printable(report.result, 20)}{left}"
    if birth is not None and birth.threshold_16 is not None:
        return birth.threshold_16, f"birth of boot {birth.boot_nonce.hex()}"
    return None, ""


def _unless_targeted(view: ShimView | None) -> Effect:
    """A target goes around everything that the head leaves out, and so do the tail's rules."""
    around = view is not None and (view.targeted or view.rules is not None)
    return Effect.THINS if around else Effect.BLOCKS


def _unsampled(view: ShimView) -> int:
    return view.head_counts.get(Reason.UNSAMPLED, 0)


def _share_sampled(view: ShimView) -> str:
    return f"its flag left out {_unsampled(view)} of {view.received}"


def _received(view: ShimView) -> TraceStage:
    if view.received:
        return TraceStage("received", Effect.PASSES, f"{view.received} messages")
    remedy = "the shim saw none of its messages: compare its topic with --topic, and see motetrace devices"
    return TraceStage("received", Effect.BLOCKS, "no message of this device", remedy, 1.0)


def _head(view: ShimView) -> Iterator[TraceStage]:
    head, counts = view.head, view.head_counts
    yield TraceStage("topic", Effect.PASSES, TrustPolicy(view.policy).word)
    yield _thinning(
        view, "rate", format_rate(rate_of(head.threshold)), Reason.OUTSIDE_RATE, head.threshold,
        "raise --sample, or target the device: motetrace sampling set {device} --rate 100%",
    )  # fmt: skip
    limit = f"{head.limit_per_s} traces a second, of all devices" if head.limit_per_s else "none"
    yield _thinning(view, "limit", limit, Reason.OVER_LIMIT, ALWAYS, "raise --sample-limit")
    if view.targeted:
        left = duration.format((view.target_until_unix_ns - view.now_unix_ns) // _SECOND_NS)
        left = "without end" if view.target_until_unix_ns == NO_END else f"for {left} more"
        yield TraceStage("target", Effect.ADDS, f"{left}; {counts.get(Reason.TARGETED, 0)} kept for it so far")
    else:
        yield TraceStage("target", Effect.PASSES, "none")
    if head.cap_per_minute:
        text = f"{head.cap_per_minute} a minute by its own flag; {counts.get(Reason.FLAG, 0)} kept"
        over = counts.get(Reason.OVER_CAP, 0)
        yield TraceStage("flag", Effect.ADDS, f"{text}, {over} over it", "raise --sample-flag-cap")


def _thinning(view: ShimView, name: str, text: str, reason: Reason, threshold: int, remedy: str) -> TraceStage:
    left_out = view.head_counts.get(reason, 0)
    if not left_out and threshold == ALWAYS:
        return TraceStage(name, Effect.PASSES, text)
    share = left_out / view.received if view.received else float(1 - rate_of(threshold))
    verdict = _unless_targeted(view) if threshold == NEVER and not view.head.cap_per_minute else Effect.THINS
    return TraceStage(name, verdict, f"{text}; {left_out} of {view.received} left out", remedy, share)


def _tail(view: ShimView) -> TraceStage:
    rules = view.rules
    if rules is None:
        return TraceStage("tail", Effect.PASSES, f"off; {view.kept} of {view.received} kept by the head")
    counts = view.tail_counts
    decided, dropped = sum(counts.values()), counts.get(0, 0)
    kept = ", ".join(f"{Reason(reason).word} {n}" for reason, n in sorted(counts.items()) if reason >= FIRST_KEEP and n)
    text = f"{_rules_text(rules)}; of {decided} decided {dropped} left out" + (f", kept: {kept}" if kept else "")
    if not dropped and rules.baseline == ALWAYS:
        return TraceStage("tail", Effect.PASSES, text)
    return TraceStage("tail", Effect.THINS, text, "raise --tail-baseline", dropped / decided if decided else 0.0)


def _rules_text(rules: TailRules) -> str:
    named = [
        (rules.errors, "errors"),
        (rules.lost, "lost"),
        (bool(rules.slow_ms), f"slow from {rules.slow_ms} ms"),
        (rules.cold_start, "cold start"),
        (bool(rules.before or rules.after), f"neighbours {rules.before}+{rules.after}"),
        (rules.targeted, "targeted"),
    ]
    return ", ".join([name for on, name in named if on] + [f"baseline {format_rate(rate_of(rules.baseline))}"])


def _sending(view: ShimView) -> TraceStage:
    if not view.otlp:
        return TraceStage(
            "sending",
            Effect.BLOCKS,
            "no backend: spans stay in the shim",
            "name the trace backend: --otlp URL",
            1.0,
        )
    text = f"to {printable(view.otlp)}; {view.spans_waiting} spans wait, {view.spans_refused} refused, of all devices"
    if view.spans_refused:
        return TraceStage("sending", Effect.THINS, text, "the backend refuses spans: see the shim's log", 0.0)
    return TraceStage("sending", Effect.PASSES, text)


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
