"""The samplers `motetrace_probability` and `parentbased_motetrace_probability`, loaded by the OpenTelemetry SDK.

    OTEL_TRACES_SAMPLER=parentbased_motetrace_probability OTEL_TRACES_SAMPLER_ARG=1% opentelemetry-instrument ...

They decide as the shim does: R, the right-most 7 bytes of the trace-id or the tracestate's `rv`, reaches T. The SDK's
own `traceidratio` compares 8 bytes, of which one is the last of seq in a motetrace id, and keeps other traces.

They need the SDK, which is no dependency of this package: whoever loads them has it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.threshold import NEVER
from motetrace_host.core.wire.traceparent import FLAG_RANDOM
from motetrace_host.core.wire.tracestate import MAX_MEMBERS

_R_BITS = 2**56 - 1
_log = logging.getLogger(__name__)


class ProbabilitySampler(Sampler):
    """Keeps a share of all spans, whatever their parents decided, consistently with everybody who compares the same R.

    Args:
        rate: 0..1; as text `100%`, `0.01`, `1/1000`; None or "": all.
    Raises:
        ValueError: it is no rate. The SDK then logs why and takes its default sampler, which keeps all.
    Source: OpenTelemetry, "TraceState: Probability Sampling"; docs/sampling.md, "For your own services".
    """

    def __init__(self, rate: str | float | None = None) -> None:
        self._rate = _rate(rate)
        self._threshold = thresholds.of_rate(self._rate)
        self._presumed = False

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = get_current_span(parent_context).get_span_context()
        state = parent.trace_state if parent.is_valid else trace_state
        random, explicit = _randomness(state, trace_id)
        if parent.is_valid and not explicit and not parent.trace_flags & FLAG_RANDOM:
            self._presume()
        kept = random >= self._threshold
        return _result(kept, attributes, state, self._threshold if kept else None)

    def get_description(self) -> str:
        return f"MotetraceProbability{{{thresholds.format_rate(self._rate)},{_shown(self._threshold)}}}"

    def _presume(self) -> None:
        """Say once what the specification wants to be said."""
        if not self._presumed:
            self._presumed = True
            _log.warning(
                "sampling takes the last 7 bytes of trace-ids for random although their random flag (0x02) is not set; "
                "where they are not, update the tracer that began these traces"
            )


class ParentBasedProbabilitySampler(Sampler):
    """Does as the parent span did; where there is none, keeps a share as `ProbabilitySampler` does.

    The parent's `th` goes on while it is true (the parent was sampled, and R reaches it); else it is erased.
    Args, raises and source: as there.
    """

    def __init__(self, rate: str | float | None = None) -> None:
        self._root = ProbabilitySampler(rate)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = get_current_span(parent_context).get_span_context()
        if not parent.is_valid:
            return self._root.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        kept = bool(parent.trace_flags.sampled)
        return _result(kept, attributes, parent.trace_state, _parents_threshold(parent) if kept else None)

    def get_description(self) -> str:
        return f"ParentBased{{{self._root.get_description()}}}"


def _rate(rate: str | float | None) -> Fraction:
    if rate is None or rate == "":
        return Fraction(1)
    return thresholds.parse_rate(rate if isinstance(rate, str) else repr(rate))


def _shown(threshold: int) -> str:
    return "never" if threshold == NEVER else f"th:{thresholds.format_th(threshold)}"


def _randomness(state: TraceState | None, trace_id: int) -> tuple[int, bool]:
    """R, and whether a tracestate made it explicit."""
    explicit = ot_member.read_leniently(state.get(ot_member.KEY, ""))[1] if state else None
    return (trace_id & _R_BITS, False) if explicit is None else (explicit, True)


def _parents_threshold(parent: SpanContext) -> int | None:
    threshold, explicit = ot_member.read_leniently(parent.trace_state.get(ot_member.KEY, ""))
    random = parent.trace_id & _R_BITS if explicit is None else explicit
    return threshold if threshold is not None and random >= threshold else None


def _result(kept: bool, attributes: Attributes, state: TraceState | None, threshold: int | None) -> SamplingResult:
    if not kept:
        return SamplingResult(Decision.DROP, None, _with(state, None))
    return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, _with(state, threshold))


def _with(state: TraceState | None, threshold: int | None) -> TraceState | None:
    """Write or erase `th`, in front when that changes anything; with 32 others, the right-most makes room."""
    before = state.get(ot_member.KEY, "") if state else ""
    after = ot_member.with_threshold(before, threshold)
    if after == before:
        return state
    others = [member for member in (state or {}).items() if member[0] != ot_member.KEY]
    return TraceState([(ot_member.KEY, after), *others[: MAX_MEMBERS - 1]] if after else others)
