"""The function's stage."""

from __future__ import annotations

from opentelemetry.trace import SpanKind, Tracer

from motetrace_host.stages.incoming import Incoming, Message
from motetrace_host.stages.stage import Stage, Value, count, flag, named, one_of


class TransformStore(Stage):
    """A running `transform_store` span."""

    _hop = "function"
    _cold_start: bool | None = None
    _fields_extracted: int | None = None

    def __init__(
        self,
        message: Message | None,
        name: str,
        cold_start: bool | None,
        kind: SpanKind,
        link_only: bool,
        tracer: Tracer | None,
    ) -> None:
        attributes: dict[str, Value] = {"function.name": named("function name", name), "faas.name": name}
        if cold_start is not None:
            self._cold_start = flag("function.cold_start", cold_start)
            attributes |= {"function.cold_start": cold_start, "faas.coldstart": cold_start}
        one_of("kind", kind, (SpanKind.INTERNAL, SpanKind.SERVER))
        super().__init__("transform_store", kind, attributes, message, link_only, tracer)

    @property
    def fields_extracted(self) -> int | None:
        """How many fields the function took out of the message: transform.fields_extracted, >= 0."""
        return self._fields_extracted

    @fields_extracted.setter
    def fields_extracted(self, value: int) -> None:
        self._fields_extracted = count("transform.fields_extracted", value)
        self.span.set_attribute("transform.fields_extracted", self._fields_extracted)

    @property
    def cold_start(self) -> bool | None:
        """Whether this call had to start the function: function.cold_start and faas.coldstart; absent when unset."""
        return self._cold_start

    @cold_start.setter
    def cold_start(self, value: bool) -> None:
        self._cold_start = flag("function.cold_start", value)
        self.span.set_attribute("function.cold_start", self._cold_start)
        self.span.set_attribute("faas.coldstart", self._cold_start)

    def _describe(self, incoming: Incoming) -> None:
        self._attributes["messaging.system"] = "mqtt"
        self._attributes["messaging.operation.type"] = "process"
        self._attributes["messaging.operation.name"] = "process"
        if incoming.topic:
            self._attributes["messaging.destination.name"] = incoming.topic
        if incoming.template is not None:
            self._attributes["messaging.destination.template"] = incoming.template
        if incoming.device_id is not None:
            self._attributes["device.id"] = incoming.device_id
        if incoming.retained:
            self._attributes["mqtt.retained"] = True
        if incoming.origin.startswith("none:"):
            # Only where a trace begins here. Otherwise the context is the rule engine's, and "traceparent" would
            # contradict the origin that the first spans of this trace give.
            self._attributes["trace.origin"] = incoming.origin


def transform_store(
    message: Message | None = None,
    *,
    name: str,
    cold_start: bool | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    link_only: bool = False,
    tracer: Tracer | None = None,
) -> TransformStore:
    """Make a `transform_store` span around the work of one function on one message, for use in a `with`.

    It is a child of the span that the message carries and links to it; without a message, of the current span.

    Args:
        message: paho's MQTTMessage, or anything with topic, payload and properties; None inside another stage.
        name: function.name, 1..4096 characters.
        cold_start: whether this call started the function; None, when nobody knows, leaves the attribute out.
        kind: INTERNAL, or SERVER in a function of its own.
        link_only: begin a new trace that links to the message's.
        tracer: default `opentelemetry.trace.get_tracer("motetrace")`.
    Raises:
        TypeError, ValueError: an argument is of another type or out of range.
    Source: docs/spans.md.
    """
    return TransformStore(message, name, cold_start, kind, link_only, tracer)
