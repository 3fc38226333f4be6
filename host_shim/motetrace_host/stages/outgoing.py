"""From an OpenTelemetry context to a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context, get_current
from opentelemetry.trace import get_current_span

from motetrace_host.core.wire import baggage
from motetrace_host.core.wire.json_members import strip
from motetrace_host.stages import settings
from motetrace_host.stages.incoming import raw_context, user_properties

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

_OURS = frozenset({"traceparent", "tracestate", "baggage", "seqref"})
_JSON_SPACE = b" \t\r\n"
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])  # Raw: values keep their bytes


def inject(properties: Properties | None = None, context: Context | None = None) -> Properties:
    """Put the current span's traceparent, tracestate and baggage into MQTT 5 properties, and return them.

    Args:
        properties: of a PUBLISH; changed in place. None makes new ones. Other user properties stay, in their order;
            earlier traceparent, tracestate, baggage and seqref ones are replaced.
        context: default the current context. Without a valid span in it nothing is changed, so that a context that
            came with the properties still passes through.
    Source: docs/wire-format.md, "Carriers".
    """
    if properties is None:
        properties = _new_properties()
    fields = carried_fields(context)
    if not fields:
        return properties
    kept = [pair for pair in user_properties(properties) if pair[0] not in _OURS]
    if hasattr(properties, "UserProperty"):
        del properties.UserProperty  # paho appends on assignment
    properties.UserProperty = kept + list(fields.items())
    return properties


def _new_properties() -> Properties:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    return Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]


def inject_json(payload: bytes, context: Context | None = None) -> bytes:
    """Put the current span's context first into a JSON-object payload, for clients that speak MQTT 3.1.1.

    Earlier members of ours are taken out; everything else keeps its bytes and order.

    Returns:
        The new payload; the same one when the context holds no valid span.
    Raises:
        ValueError: the payload is not a JSON object; the remedy is an MQTT 5 client.
    Source: docs/wire-format.md, "Carriers".
    """
    fields = carried_fields(context)
    if not fields:
        return payload
    rest = strip(payload)
    try:
        members = _OBJECT.decode(rest)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            "payload is not a JSON object, so MQTT 3.1.1 has no place for a context; use an MQTT 5 client"
        ) from error
    if not _OURS.isdisjoint(members):  # not in front, where our devices put them, so strip let them stand
        rest = msgspec.json.encode({name: value for name, value in members.items() if name not in _OURS})
    rest = rest.lstrip(_JSON_SPACE)[1:]
    ours = b",".join(json.dumps(name).encode() + b":" + json.dumps(text).encode() for name, text in fields.items())
    return b"{" + ours + (b"" if rest.lstrip(_JSON_SPACE).startswith(b"}") else b",") + rest


def carried_fields(context: Context | None = None) -> Mapping[str, str]:
    """Return what a message would carry: traceparent, and tracestate and baggage where not empty; {} without a span."""
    context = get_current() if context is None else context
    span = get_current_span(context).get_span_context()
    if not span.is_valid:
        return {}
    raw = raw_context(context)
    flags = int(span.trace_flags)
    if raw is not None and raw.trace_id == span.trace_id:
        flags |= raw.random  # of the trace-id, and so of every span in it; SDKs before 1.42 forget it
    fields = {"traceparent": f"00-{span.trace_id:032x}-{span.span_id:016x}-{flags:02x}"}
    tracestate = span.trace_state.to_header()
    if raw is not None and raw.trace_id == span.trace_id and raw.parsed_tracestate == span.trace_state:
        tracestate = raw.tracestate
    if tracestate:
        fields["tracestate"] = tracestate
    text = baggage_text(context)
    if text:
        fields["baggage"] = text
    return fields


def baggage_text(context: Context | None = None) -> str:
    """Return a context's baggage as text, within the settings' allow-list and cap; "" for none.

    Members that nobody changed since they came in keep their text and their properties.
    """
    policy = settings.current().baggage
    raw = raw_context(context)
    current = dict(otel_baggage.get_all(context))
    if raw is not None and raw.policy == policy and baggage.values(raw.parsed_baggage) == current:
        return raw.baggage
    members = baggage.update(() if raw is None else raw.parsed_baggage, current)
    return baggage.format(baggage.limit(members, policy))
