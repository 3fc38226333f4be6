"""What a message says about its trace: the one place where carriers are searched, in a fixed order.

1. user property `traceparent`   2. user property `seqref`
3. JSON member `traceparent`     4. JSON member `seqref`     5. JSON member `seq`

On topics that are configured so, a binary trailer is looked for between 2 and 3.

What is broken is counted and the search goes on, so that a firmware bug in one carrier does not hide the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import baggage, binary_trailer, seqref, traceparent, tracestate
from motetrace_host.core.wire import json_members as payload_members
from motetrace_host.core.wire.traceparent import TraceParent

MAX_BAGGAGE_BYTES: Final = baggage.DEFAULT_MAX_BYTES
_BAGGAGE_POLICY: Final = baggage.BaggageLimits()
HOST_FLAGS: Final = traceparent.FLAG_SAMPLED | traceparent.FLAG_RANDOM
_NAMES: Final = frozenset(("traceparent", "seqref", "tracestate", "baggage"))
_LISTS: Final = frozenset(("tracestate", "baggage"))  # several properties of these are one list


@dataclass(frozen=True, slots=True)
class Context:
    """What one message says about its trace.

    Args:
        origin: `traceparent`, `seqref`, `seq`, `none:absent`, `none:off`, or `none:<reason of the first fault>`.
        trace_id: 16 bytes; only of origin traceparent.
        parent_id: 8 bytes; only of origin traceparent.
        flags: Trace-flags, 0..3; 3 where the device sent none.
        boot_nonce: 5 bytes; None for seq, none and a traceparent that is not structured.
        seq: 0..2**32-1; None for none and a traceparent that is not structured.
        age_ms: 0..2**32-1 from sensor read to publish, when the device said so.
        tracestate: Valid text of at most 512 characters, or "". Our own member stays in it.
        baggage: As received, printable ASCII of at most 8192 bytes, or "".
        carrier: `user_property`, `trailer`, `json` or `none`: where the context was found.
        faults: Reasons to count, in the order found.
    Source: docs/wire-format.md, "Carriers"; tests/vectors/context.json.
    """

    origin: str
    trace_id: bytes | None
    parent_id: bytes | None
    flags: int
    boot_nonce: bytes | None
    seq: int | None
    age_ms: int | None
    tracestate: str
    baggage: str
    carrier: str
    faults: tuple[str, ...]

    @property
    def structured(self) -> bool:
        """Tell whether the ids are motetrace's own: seq stands in both, and the random flag is set."""
        return self.origin == "traceparent" and self.boot_nonce is not None


class _Source(Protocol):
    """Fields of one carrier by name."""

    def text(self, name: str) -> str | None:
        """Give one field, None when absent; raise WireError when it is broken."""


class _Properties:
    """The user properties of one message that bear our names."""

    __slots__ = ("values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name in _NAMES:
                self.values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        values = self.values.get(name)
        if values is None:
            return None
        if len(values) == 1:
            return values[0]
        if name in _LISTS:
            return ",".join(values)
        raise WireError(f"{name}_repeated", f"{len(values)} user properties {name!r}; send one")


class _NoMembers:
    """A carrier that has room for nothing but the context."""

    def text(self, name: str) -> str | None:
        return None


class _Payload:
    """Our members of one payload."""

    __slots__ = ("members", "payload")

    def __init__(self, payload: bytes, faults: list[str]) -> None:
        self.payload = payload
        try:
            self.members = payload_members.members(payload)
        except WireError as exc:
            faults.append(exc.reason)
            self.members = payload_members.leading(payload)

    def text(self, name: str) -> str | None:
        return None if self.members is None else payload_members.member_text(self.payload, self.members, name)

    def seq(self) -> int | None:
        return None if self.members is None else payload_members.member_seq(self.payload, self.members)


def read(
    user_properties: Iterable[tuple[str, str]] | None, payload: bytes, *, may_have_trailer: bool = False
) -> Context:
    """Find the trace context of a message. Never raises on what a device can send; linear in its size.

    Tracestate is read only beside a valid traceparent and from the same carrier. Baggage is the user properties',
    and the payload's when they have none and the payload had to be looked at.

    Args:
        user_properties: MQTT 5 pairs as received, repetitions included; None or empty for 3.1.1.
        payload: As received, any bytes.
        may_have_trailer: The topic is configured to carry binary trailers.
    Returns:
        What was found, and what was broken.
    Source: docs/wire-format.md, "Carriers"; tests/vectors/context.json.
    """
    faults: list[str] = []
    properties = _Properties(user_properties or ())
    if properties.values:
        found = _search(properties, "user_property", properties, faults)
        if found is not None:
            return found
    if may_have_trailer:
        found = _from_trailer(payload, properties, faults)
        if found is not None:
            return found
    elif len(rest := binary_trailer.strip(payload)) < len(payload):
        faults.append("trailer_unconfigured")
        payload = rest
    members = _Payload(payload, faults)
    baggage_source = properties if "baggage" in properties.values else members
    found = _search(members, "json", baggage_source, faults)
    if found is not None:
        return found
    try:
        seq = members.seq()
    except WireError as exc:
        seq = None
        faults.append(exc.reason)
    # Before baggage is read: broken baggage is a fault, but not why there is no trace.
    origin = "seq" if seq is not None else f"none:{faults[0] if faults else 'absent'}"
    carrier = "json" if seq is not None else "none"
    baggage = _baggage(baggage_source, faults)
    return Context(origin, None, None, HOST_FLAGS, None, seq, None, "", baggage, carrier, tuple(faults))


def ignored(found: Context) -> Context:
    """What is left of a context where none is believed (`--trust ... off`): as if it were absent, and counted.

    Args:
        found: as `read` gave it. Where it was found is kept: a trailer is still cut off when the message goes on.
    Source: docs/trust.md.
    """
    if found.origin.startswith("none"):
        return found
    faults = (*found.faults, "context_ignored")
    return Context("none:off", None, None, HOST_FLAGS, None, None, None, "", "", found.carrier, faults)


def _search(source: _Source, carrier: str, baggage_source: _Source, faults: list[str]) -> Context | None:
    """Look for a traceparent, then for a seqref, in one carrier."""
    try:
        text = source.text("traceparent")
        if text is not None:
            return _continued(traceparent.parse(text), source, carrier, baggage_source, faults)
    except WireError as exc:
        faults.append(exc.reason)
    try:
        text = source.text("seqref")
        if text is not None:
            nonce, seq, flags, age_ms = seqref.parse(text)
            baggage = _baggage(baggage_source, faults)
            return Context("seqref", None, None, flags, nonce, seq, age_ms, "", baggage, carrier, tuple(faults))
    except WireError as exc:
        faults.append(exc.reason)
    return None


def _from_trailer(payload: bytes, baggage_source: _Source, faults: list[str]) -> Context | None:
    """Look for a context behind a binary payload."""
    try:
        found = binary_trailer.parse(payload)
    except WireError as exc:
        faults.append(exc.reason)
        return None
    if found is None:
        return None
    if isinstance(found.context, TraceParent):
        return _continued(found.context, _NoMembers(), "trailer", baggage_source, faults)
    nonce, seq, flags, _ = found.context
    baggage = _baggage(baggage_source, faults)
    return Context("seqref", None, None, flags, nonce, seq, None, "", baggage, "trailer", tuple(faults))


def _continued(tp: TraceParent, source: _Source, carrier: str, baggage_source: _Source, faults: list[str]) -> Context:
    """Make the context of a valid traceparent."""
    trace_id, parent_id, flags = tp
    boot_nonce = seq = None
    if traceparent.is_structured(tp):
        boot_nonce = traceparent.boot_nonce(trace_id)
        seq = traceparent.seq(trace_id)
    age_ms, state = _tracestate(source, faults)
    baggage = _baggage(baggage_source, faults)
    return Context(
        "traceparent", trace_id, parent_id, flags, boot_nonce, seq, age_ms, state, baggage, carrier, tuple(faults)
    )


def _tracestate(source: _Source, faults: list[str]) -> tuple[int | None, str]:
    """Read age and the text to pass on; a broken tracestate never harms the traceparent."""
    age_ms: int | None = None
    try:
        text = source.text("tracestate")
        if text is None:
            return None, ""
        members = tracestate.parse(text)
    except WireError as exc:
        faults.append(exc.reason)
        return None, ""
    try:
        age_ms = tracestate.age_ms(members)
    except WireError as exc:
        faults.append(exc.reason)
    if len(text) > tracestate.MAX_PROPAGATED_CHARS:
        return age_ms, tracestate.format(tracestate.limit(members))
    return age_ms, text.strip(" \t").replace("\t", " ")


def _baggage(source: _Source, faults: list[str]) -> str:
    """Read baggage to pass on untouched: what is in it is the application's."""
    try:
        text = source.text("baggage")
    except WireError as exc:
        faults.append(exc.reason)
        return ""
    if text is None:
        return ""
    # Printable only: it goes on into HTTP headers, user properties and logs, where a newline would be an injection.
    if not text.isascii() or not text.replace("\t", " ").isprintable():
        faults.append("baggage_format")
        return ""
    # A tab is white space here, and a control character to MQTT: mosquitto ends the connection of who sends one on.
    text = text.replace("\t", " ")
    if len(text) > MAX_BAGGAGE_BYTES:
        faults.append("baggage_too_long")
        return baggage.passed_on(text, _BAGGAGE_POLICY)
    return text
