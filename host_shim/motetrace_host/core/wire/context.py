"""The trace context of a message: the one place where carriers are searched, in a fixed order.

1. user property `traceparent`   2. user property `seqref`
3. JSON member `traceparent`     4. JSON member `seqref`     5. JSON member `seq`

On topics that are configured so, a binary trailer is looked for between 2 and 3.

What is broken is counted and the search goes on, so that a firmware bug in one carrier does not hide the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import baggage, binary_trailer, json_members, seqref, traceparent, tracestate
from motetrace_host.core.wire.traceparent import TraceParent

MAX_BAGGAGE_BYTES: Final = baggage.DEFAULT_MAX_BYTES
_BAGGAGE_LIMITS: Final = baggage.BaggageLimits()
HOST_FLAGS: Final = traceparent.FLAG_SAMPLED | traceparent.FLAG_RANDOM
_NAMES: Final = frozenset(("traceparent", "seqref", "tracestate", "baggage"))
_LISTS: Final = frozenset(("tracestate", "baggage"))  # several properties of these are one list
T = TypeVar("T")


class Context(NamedTuple):
    """The trace context of one message.

    Attributes:
        origin: `traceparent`, `seqref`, `seq`, `none:absent`, `none:off`, or `none:<reason of the first fault>`.
        carrier: `user_property`, `trailer`, `json` or `none`: where the context was found.
        trace_id: 16 bytes; only of origin traceparent.
        parent_id: 8 bytes; only of origin traceparent.
        flags: Trace-flags, 0..3; 3 where the device sent none.
        boot_nonce: 5 bytes; None for seq, none and a traceparent that is not structured.
        seq: 0..2**32-1; None for none and a traceparent that is not structured.
        age_ms: 0..2**32-1 from sensor read to publish, when the device sent it.
        tracestate: Valid text of at most 512 characters, or "". Our own member stays in it.
        baggage: As received, printable ASCII of at most 8192 bytes, or "".
        faults: Reasons to count, in the order found.
    Source: docs/wire-format.md, "Carriers"; tests/vectors/context.json.
    """

    origin: str
    carrier: str
    trace_id: bytes | None = None
    parent_id: bytes | None = None
    flags: int = HOST_FLAGS
    boot_nonce: bytes | None = None
    seq: int | None = None
    age_ms: int | None = None
    tracestate: str = ""
    baggage: str = ""
    faults: tuple[str, ...] = ()

    @property
    def structured(self) -> bool:
        """Whether the ids are motetrace's own: seq stands in both, and the random flag is set."""
        return self.boot_nonce is not None and self.origin == "traceparent"


class _Carrier:
    """Fields of one carrier by name; this one has room for nothing but the context."""

    __slots__ = ()
    name = "trailer"

    def text(self, name: str) -> str | None:
        """Give one field, None when absent; raise WireError when it is broken."""
        return None


class _Properties(_Carrier):
    """The user properties of one message that bear our names."""

    __slots__ = ("values",)
    name = "user_property"

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


class _Payload(_Carrier):
    """Our members of one payload."""

    __slots__ = ("members", "payload")
    name = "json"

    def __init__(self, payload: bytes, faults: list[str]) -> None:
        self.payload = payload
        try:
            self.members = json_members.members(payload)
        except WireError as exc:
            faults.append(exc.reason)
            self.members = json_members.leading(payload)

    def text(self, name: str) -> str | None:
        return None if self.members is None else json_members.member_text(self.payload, self.members, name)

    def seq(self) -> int | None:
        return None if self.members is None else json_members.member_seq(self.payload, self.members)


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
    baggage_carrier: _Carrier = properties
    found = _search(properties, faults) if properties.values else None
    if found is None and may_have_trailer:
        found = _in_trailer(payload, faults)
    elif found is None and len(rest := binary_trailer.strip(payload)) < len(payload):
        faults.append("trailer_unconfigured")
        payload = rest
    if found is None:
        members = _Payload(payload, faults)
        if "baggage" not in properties.values:
            baggage_carrier = members
        found = _search(members, faults) or _numbered(members, faults)
    text = _baggage(baggage_carrier, faults)
    return found._replace(baggage=text, faults=tuple(faults)) if text or faults else found


def ignored(found: Context) -> Context:
    """What is left of a context where none is believed (`--trust ... off`): as if it were absent, and counted.

    Args:
        found: as `read` gave it. Where it was found is kept: a trailer is still cut off when the message goes on.
    Source: docs/trust.md.
    """
    if found.origin.startswith("none"):
        return found
    return Context("none:off", found.carrier, faults=(*found.faults, "context_ignored"))


def _attempt(faults: list[str], read: Callable[..., T], *args: object) -> T | None:
    """Call a reader; when what it reads is broken, note why and give None."""
    try:
        return read(*args)
    except WireError as exc:
        faults.append(exc.reason)
        return None


def _search(carrier: _Carrier, faults: list[str]) -> Context | None:
    """Look for a traceparent, then for a seqref, in one carrier."""
    text = _attempt(faults, carrier.text, "traceparent")
    if text is not None:
        sent = _attempt(faults, traceparent.parse, text)
        if sent is not None:
            return _continued(sent, carrier, faults)
    text = _attempt(faults, carrier.text, "seqref")
    ref = None if text is None else _attempt(faults, seqref.parse, text)
    if ref is None:
        return None
    return Context("seqref", carrier.name, None, None, ref.flags, ref.boot_nonce, ref.seq, ref.age_ms)


def _in_trailer(payload: bytes, faults: list[str]) -> Context | None:
    """Look for a context behind a binary payload."""
    found = _attempt(faults, binary_trailer.parse, payload)
    if found is None:
        return None
    if isinstance(found.context, TraceParent):
        return _continued(found.context, _Carrier(), faults)
    nonce, seq, flags, _ = found.context
    return Context("seqref", "trailer", None, None, flags, nonce, seq)


def _numbered(payload: _Payload, faults: list[str]) -> Context:
    """Look for a bare message number; without one there is no context, for the reason of the first fault."""
    seq = _attempt(faults, payload.seq)
    if seq is not None:
        return Context("seq", "json", seq=seq)
    return Context(f"none:{faults[0] if faults else 'absent'}", "none")


def _continued(sent: TraceParent, carrier: _Carrier, faults: list[str]) -> Context:
    """Make the context of a valid traceparent."""
    trace_id, parent_id, flags = sent
    boot_nonce = seq = None
    if traceparent.is_structured(sent):
        boot_nonce, seq = trace_id[:5], traceparent.seq(trace_id)
    age_ms, state = _tracestate(carrier, faults)
    return Context("traceparent", carrier.name, trace_id, parent_id, flags, boot_nonce, seq, age_ms, state)


def _tracestate(carrier: _Carrier, faults: list[str]) -> tuple[int | None, str]:
    """Read age and the text to pass on; a broken tracestate never harms the traceparent."""
    text = _attempt(faults, carrier.text, "tracestate")
    members = None if text is None else _attempt(faults, tracestate.parse, text)
    if text is None or members is None:
        return None, ""
    age_ms = _attempt(faults, tracestate.age_ms, members)
    if len(text) > tracestate.MAX_PROPAGATED_CHARS:
        return age_ms, tracestate.format(tracestate.limit(members))
    return age_ms, text.strip(" \t").replace("\t", " ")


def _baggage(carrier: _Carrier, faults: list[str]) -> str:
    """Read baggage to pass on untouched: what is in it is the application's."""
    text = _attempt(faults, carrier.text, "baggage")
    if not text:
        return ""
    # A tab is white space here, and a control character to MQTT: mosquitto ends a connection on which one is sent.
    text = text.replace("\t", " ")
    # Printable only: it goes on into HTTP headers, user properties and logs, where a newline would be an injection.
    if not text.isascii() or not text.isprintable():
        faults.append("baggage_format")
        return ""
    if len(text) > MAX_BAGGAGE_BYTES:
        faults.append("baggage_too_long")
        return baggage.passed_on(text, _BAGGAGE_LIMITS)
    return text
