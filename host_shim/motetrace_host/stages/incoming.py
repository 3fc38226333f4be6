"""From a message to an OpenTelemetry context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from motetrace_host.core.messages import message_number
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.wire import baggage, tracestate
from motetrace_host.core.wire import context as wire
from motetrace_host.core.wire.baggage import BaggageLimits, Members
from motetrace_host.core.wire.traceparent import FLAG_RANDOM
from motetrace_host.stages import reporting, settings

_RAW = create_key("motetrace-raw-context")
_DEVICE_MESSAGE = create_key("motetrace-device-message")


class Message(Protocol):
    """What a stage reads of a message: paho's MQTTMessage, or anything of that shape.

    `properties` may be absent or None (MQTT 3.1.1), `retain` may be absent; see `extract`. `device_id`, which paho does
    not have, names the device where a platform vouches for it and no topic tells.
    """

    @property
    def topic(self) -> str: ...

    @property
    def payload(self) -> bytes | bytearray: ...


class RawContext(NamedTuple):
    """The carried texts as they came, so that what nobody changed is passed on byte for byte.

    OpenTelemetry's own classes would drop a baggage member's properties and a Level 2 tracestate key.

    Attributes:
        trace_id: 0 when the message named none.
        baggage: what of it may pass by `policy`.
        number: of the message, for the stages inside this one.
        retained: an old message shown again, which no stage counts.
        random: FLAG_RANDOM when the message's trace-id came with it, else 0.
    """

    trace_id: int
    tracestate: str
    parsed_tracestate: TraceState
    baggage: str
    parsed_baggage: Members
    policy: BaggageLimits
    number: MessageNumber | None = None
    retained: bool = False
    random: int = 0


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """Which message of which device a context is about, as far as the message told: either may be None."""

    device_id: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a message says about where it comes from.

    Attributes:
        origin: `traceparent`, `seqref` or `none:<reason>`; the value of the attribute trace.origin.
        remote: the sender's span; None with origin `none:*` except `none:retained`, where it may be linked to.
        context: base of the stage's span: the remote span as parent (never of a retained message) and baggage.
        device_id: by the configured topics, else by the platform, else None.
        template: the configured topic that fits, else None.
        number: which message of which boot it is, as far as a stage can tell; also without a key. None where nobody
            counts.
    """

    origin: str
    remote: SpanContext | None
    context: Context
    topic: str
    device_id: str | None
    template: str | None
    retained: bool
    number: MessageNumber | None = None


def extract(message: Message, context: Context | None = None) -> Context:
    """Return a context whose current span is the one that the message carries, with its baggage.

    Looked for in this order: user property traceparent, user property seqref, JSON member traceparent, JSON member
    seqref. A seqref needs the key (`stages.configure`). A message without a usable context, and a retained one,
    yields a context without a span: what starts there is a root.

    Args:
        message: has topic, payload, and for MQTT 5 properties; hostile content is tolerated, nothing is raised.
        context: what the result is based on; default empty, so that nothing but the message decides the parent.
    Source: docs/wire-format.md.
    """
    return read(message, Context() if context is None else context).context


def read(message: Message, base: Context) -> Incoming:
    """Read a message as `extract` does, and say also what a span about it should tell."""
    topic = _topic(message)
    config = settings.current()
    device_id, template = config.device_of(topic)
    if device_id is None:
        device_id = getattr(message, "device_id", None)
    retained = getattr(message, "retain", False) is True
    carried = wire.read(user_properties(getattr(message, "properties", None)), bytes(message.payload))
    origin, ids = _ids(carried, device_id, config)
    text = baggage.passed_on(carried.baggage, config.baggage)
    members = baggage.parse(text)

    context = otel_baggage.clear(base)
    for name, value in baggage.values(members).items():
        context = otel_baggage.set_baggage(name, value, context)
    number = message_number.of_context(carried) if reporting.current() is not None else None
    trace_state = TraceState.from_header([carried.tracestate]) if carried.tracestate else TraceState()
    trace_id = 0 if ids is None else ids[0]
    random = carried.flags & FLAG_RANDOM
    raw = RawContext(trace_id, carried.tracestate, trace_state, text, members, config.baggage, number, retained, random)
    context = set_value(_RAW, raw, context)
    context = set_value(_DEVICE_MESSAGE, DeviceMessage(device_id, carried.seq), context)
    remote = None if ids is None else SpanContext(ids[0], ids[1], True, TraceFlags(carried.flags), trace_state)
    if remote is not None and retained:
        # A retained message carries the context of whenever it was stored: that trace is over, so link, never extend.
        origin = "none:retained"
    elif remote is not None and is_will(remote):
        origin = "none:will"
    is_parent = remote is not None and not origin.startswith("none:")
    parent = NonRecordingSpan(remote) if remote is not None and is_parent else INVALID_SPAN
    context = set_span_in_context(parent, context)
    return Incoming(origin, remote, context, topic, device_id, template, retained, number)


def is_will(remote: SpanContext) -> bool:
    """Tell whether a context was set for a will: long before it was published, so it is linked to and never continued.

    Source: docs/wire-format.md, "age" (the member `mt`).
    """
    return tracestate.WILL_FIELD in (remote.trace_state.get(tracestate.OWN_KEY) or "").split(";")


def raw_context(context: Context | None = None) -> RawContext | None:
    """Return the carried texts kept in a context (default the current one) by `read`, else None."""
    raw = get_value(_RAW, context)
    return raw if isinstance(raw, RawContext) else None


def device_message(context: Context | None = None) -> DeviceMessage | None:
    """Return which message a context (default the current one) is about, None outside of one."""
    found = get_value(_DEVICE_MESSAGE, context)
    return found if isinstance(found, DeviceMessage) else None


def with_baggage_of(source: Context, context: Context) -> Context:
    """Return a context with the baggage of another one in place of its own."""
    context = otel_baggage.clear(context)
    for name, value in otel_baggage.get_all(source).items():
        context = otel_baggage.set_baggage(name, value, context)
    theirs, own = raw_context(source), raw_context(context)
    if theirs is None:
        return context
    own = RawContext(0, "", TraceState(), "", (), theirs.policy) if own is None else own
    own = own._replace(baggage=theirs.baggage, parsed_baggage=theirs.parsed_baggage, policy=theirs.policy)
    return set_value(_RAW, own, context)


def user_properties(properties: Any) -> list[tuple[str, str]]:
    """Return the user properties of a paho Properties object; empty when there are none or no properties at all."""
    return list(getattr(properties, "UserProperty", None) or ())


def _ids(carried: wire.Context, device_id: str | None, config: settings.Settings) -> tuple[str, tuple[int, int] | None]:
    """Return (origin, (trace id, span id) or None)."""
    if carried.trace_id is not None and carried.parent_id is not None:
        return carried.origin, (int.from_bytes(carried.trace_id, "big"), int.from_bytes(carried.parent_id, "big"))
    if carried.origin.startswith("none:"):
        return carried.origin, None
    if carried.boot_nonce is None or carried.seq is None:
        return "none:seq_without_boot", None  # only the shim's ledger knows the boot: read its republished topic
    if config.key is None:
        return "none:seqref_without_key", None
    if device_id is None:
        return "none:topic_without_device", None
    derived = derive(config.key, config.tenant, device_id, carried.boot_nonce, carried.seq)
    return carried.origin, (int.from_bytes(derived.trace_id, "big"), int.from_bytes(derived.span_id, "big"))


def _topic(message: Message) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:  # paho decodes on access, and a lenient broker lets such a topic through
        return ""
