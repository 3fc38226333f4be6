"""Trace context in and out of paho's messages."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Final

from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    get_current_span,
    set_span_in_context,
)
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host.core.wire.tracestate import OWN_KEY, WILL_FIELD
from motetrace_host.otel.paho_options import PahoOptions
from motetrace_host.otel.propagator import READ_FIELDS, Carried, MotetracePropagator, Pairs
from motetrace_host.otel.user_properties import GETTER, SETTER
from motetrace_host.stages import settings
from motetrace_host.stages.incoming import Incoming, is_will, read, user_properties
from motetrace_host.stages.outgoing import inject_json

_JSON_SPACE: Final = b" \t\r\n"
# Copied and not constructed: Properties() builds its tables of names each time.
_NO_PROPERTIES: Final = {
    packet: Properties(packet)  # type: ignore[no-untyped-call]
    for packet in (PacketTypes.PUBLISH, PacketTypes.WILLMESSAGE)
}


class Carriage:
    """Reads and writes the context of messages.

    Args:
        propagator: what stands in user properties; members of payloads are always read and written by motetrace's.
    """

    def __init__(self, options: PahoOptions, propagator: TextMapPropagator) -> None:
        self._payload_member = options.payload_member
        self._propagator = propagator
        self._foreign = not isinstance(propagator, MotetracePropagator)
        self._replaced = frozenset(propagator.fields) | (frozenset() if self._foreign else frozenset(READ_FIELDS))

    def read(self, message: Any, base: Context) -> Incoming:
        """Return what a received message says; of a retained message and a will, `context` holds no parent.

        Args:
            message: paho's; hostile content is tolerated, nothing is raised.
            base: what the callback's context is made of; a span in it is no parent.
        """
        try:
            topic = message.topic
        except UnicodeDecodeError:  # paho decodes on access
            topic = ""
        retained = message.retain is True or message.retain == 1
        payload = bytes(message.payload) if self._payload_member else b""
        pairs = user_properties(getattr(message, "properties", None))
        incoming = self._read(topic, pairs, payload, retained, base)
        if incoming.remote is not None and not incoming.retained and is_will(incoming.remote):
            return replace(incoming, origin="none:will", context=set_span_in_context(INVALID_SPAN, incoming.context))
        return incoming

    def _read(
        self, topic: str, pairs: list[tuple[str, str]], payload: bytes, retained: bool, base: Context
    ) -> Incoming:
        if not self._foreign or (payload and not any(name in self._replaced for name, _ in pairs)):
            return read(Carried(topic, payload, Pairs(pairs), retained), base)
        base = otel_baggage.clear(set_span_in_context(INVALID_SPAN, base))
        context = self._propagator.extract(pairs, base, GETTER)
        remote = get_current_span(context).get_span_context()
        device_id, template = settings.current().device_of(topic)
        if not remote.is_valid:
            return Incoming("none:absent", None, context, topic, device_id, template, retained)
        if retained:
            context = set_span_in_context(INVALID_SPAN, context)
        origin = "none:retained" if retained else "propagator"
        return Incoming(origin, remote, context, topic, device_id, template, retained)

    def parent_of(self, topic: str, payload: Any, properties: Any, current: Context) -> Context:
        """Return the context under which a message is sent: the current one, else what it already carries.

        So a program that hands contexts on by itself keeps its traces in one piece.
        """
        if get_current_span(current).get_span_context().is_valid:
            return current
        pairs = user_properties(properties)
        body = payload if self._payload_member and isinstance(payload, (bytes, bytearray)) else b""
        if not body and not any(name in self._replaced for name, _ in pairs):
            return current
        incoming = self._read(topic, pairs, bytes(body), False, current)
        return current if incoming.remote is None else incoming.context

    def properties(self, properties: Any, context: Context, packet: int = PacketTypes.PUBLISH) -> Any:
        """Return user properties that carry a context; the ones given stay untouched, because programs reuse them."""
        if not get_current_span(context).get_span_context().is_valid:
            return properties
        if properties is not None and not isinstance(properties, Properties):
            return properties  # paho refuses it in its own words
        pairs = [pair for pair in user_properties(properties) if pair[0] not in self._replaced]
        injected: list[tuple[str, str]] = []
        self._propagator.inject(injected, context, SETTER)
        pairs += [(name, _one_line(value)) for name, value in injected if _one_line(value).isprintable()]
        carrying = copy.copy(_NO_PROPERTIES[packet] if properties is None else properties)
        object.__setattr__(carrying, "UserProperty", pairs)  # paho's own assignment appends
        return carrying

    def payload(self, payload: Any, context: Context) -> tuple[Any, str | None]:
        """Return a JSON payload that carries a context, else the payload itself and why it carries none."""
        if not self._payload_member:
            return payload, "none:mqtt_3"
        if isinstance(payload, str):
            body = payload.encode()
        elif isinstance(payload, (bytes, bytearray)):
            body = bytes(payload)
        else:
            return payload, "none:payload_not_json_object"
        if body.lstrip(_JSON_SPACE)[:1] != b"{":
            return payload, "none:payload_not_json_object"
        try:
            return inject_json(body, context), None
        except ValueError:
            return payload, "none:payload_not_json_object"


def will_context(span: Span, context: Context) -> Context:
    """Return the context that a will carries: the span's, marked so that receivers link to it and never extend it."""
    ids = span.get_span_context()
    if not ids.is_valid:
        return context
    state = ids.trace_state.update(OWN_KEY, WILL_FIELD)
    marked = SpanContext(ids.trace_id, ids.span_id, False, ids.trace_flags, state)
    return set_span_in_context(NonRecordingSpan(marked), context)


def _one_line(value: str) -> str:
    """Return a value without tabs, which W3C allows around members: mosquitto ends the connection on any control
    character, and paho would send the same message again, for ever (MQTT 5, section 1.5.4)."""
    return value.replace("\t", " ")
