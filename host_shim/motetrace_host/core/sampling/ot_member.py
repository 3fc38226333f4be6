"""OpenTelemetry's member of a tracestate, `ot=th:fd70a;rv:9b8233f7e3a151`: how likely this trace was to be kept.

`th` is the highest threshold that decided about the trace so far; a span without it stands for an unknown number of
traces. So it is written where probability alone decided, and erased wherever something else did.
"""

from __future__ import annotations

from typing import Final

from motetrace_host.core.errors import WireError
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.wire import tracestate
from motetrace_host.core.wire.tracestate import MAX_MEMBERS

KEY: Final = "ot"
MAX_CHARS: Final = 256  # of its value
_SHORT_CHARS: Final = tracestate.MAX_PROPAGATED_CHARS - len("ot=th:0123456789abcd,")


def read_leniently(value: str) -> tuple[int | None, int | None]:
    """Find the threshold and the explicit randomness in the value of `ot`.

    Args:
        value: as it stands behind `ot=`, "" for none.
    Returns:
        (threshold 0..2**56-1, R 0..2**56-1); None for what is absent or broken.
    Source: OpenTelemetry, "TraceState Handling".
    """
    found: list[int | None] = []
    for name, parse in (("th", thresholds.parse_th), ("rv", thresholds.parse_rv)):
        text = _sub_key(value, name)
        try:
            found.append(None if text is None else parse(text))
        except WireError:
            found.append(None)
    return found[0], found[1]


def _sub_key(value: str, name: str) -> str | None:
    for part in value.split(";"):
        key, colon, text = part.partition(":")
        if colon and key == name:
            return text
    return None


def with_threshold(value: str, threshold: int | None) -> str:
    """Write, replace or erase `th` in the value of `ot`.

    Args:
        value: "" when there is none yet. Other sub-keys stay, in their order.
        threshold: 0..2**56-1; None erases.
    Returns:
        The new value; "" when nothing is left. Without `th` when it would make the value longer than 256 characters:
        the sub-keys of others are not cut for ours.
    """
    others = [part for part in value.split(";") if part and part.partition(":")[0] != "th"]
    parts = others if threshold is None else [f"th:{thresholds.format_th(threshold)}", *others]
    text = ";".join(parts)
    return text if len(text) <= MAX_CHARS else ";".join(others)


def rewrite(text: str, threshold: int | None) -> str:
    """Write or erase `th` in a tracestate.

    Args:
        text: a tracestate as received, "" for none.
        threshold: 0..2**56-1; None erases.
    Returns:
        The tracestate; `ot` is its first member when it was changed. Others stay as they are; beyond 32 members the
        right-most goes, beyond 512 characters those that `tracestate.limit` cuts. What does not change stays untouched.
    Raises:
        WireError: `tracestate_*`, the text is none.
    Source: W3C Trace Context Level 2, 3.3.1 and 3.5 (what was changed moves left); tests/vectors/sampling.json.
    """
    if "ot=" not in text:  # most tracestates by far, and a member elsewhere may end in these letters
        if threshold is None:
            return text
        if not text:
            return f"ot=th:{thresholds.format_th(threshold)}"
        if len(text) <= _SHORT_CHARS and text.count(",") < MAX_MEMBERS - 1:
            return f"ot=th:{thresholds.format_th(threshold)},{text}"
    members = tracestate.parse(text)
    before = dict(members).get(KEY, "")
    after = with_threshold(before, threshold)
    if after == before:
        return text
    rest = tuple(member for member in members if member[0] != KEY)
    changed = ((KEY, after), *rest[: MAX_MEMBERS - 1]) if after else rest
    return tracestate.format(tracestate.limit(changed))


def kept(text: str, trace_id: bytes, threshold: int | None) -> str:
    """Make the tracestate of a span that is kept.

    Args:
        text: as it came with the trace.
        trace_id: 16 bytes.
        threshold: what decided, 0..2**56-1; None when something else than probability did, or that is unknown.
    Returns:
        With `th` of the higher of this threshold and the one that came; without it when R is below one of them, for
        such a trace was kept by force somewhere. Broken `th` and `rv` count as absent.
    Source: OpenTelemetry, "TraceState: Probability Sampling", general requirements and downstream threshold.
    """
    if threshold is None or not text:
        decided = threshold is not None and thresholds.randomness(trace_id) >= threshold
        return rewrite(text, threshold if decided else None)
    came, explicit = read_leniently(_value(text))
    both = max(threshold, came or 0)
    random = thresholds.randomness(trace_id) if explicit is None else explicit
    return rewrite(text, both if random >= both else None)


def randomness(text: str, trace_id: bytes) -> int:
    """Take R from `rv` in a tracestate, else from the trace-id; a broken tracestate has none."""
    explicit = read_leniently(_value(text))[1] if "rv:" in text else None
    return thresholds.randomness(trace_id) if explicit is None else explicit


def _value(text: str) -> str:
    """The value of `ot` in a tracestate, "" when it has none or is broken."""
    if "ot=" not in text:
        return ""
    try:
        return dict(tracestate.parse(text)).get(KEY, "")
    except WireError:
        return ""
