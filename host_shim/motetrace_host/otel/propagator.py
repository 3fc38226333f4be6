"""The propagator `motetrace`: traceparent, seqref, tracestate and baggage, by the standards' letter.

    OTEL_PROPAGATORS=motetrace opentelemetry-instrument python service.py

It stands in for `tracecontext,baggage`, and differs where OpenTelemetry's own are wrong: two traceparents are none, a
line break behind one is no white space, tracestate keys follow Level 2 and pass through byte for byte, `+` in baggage
is a plus, and a member's properties stay the member's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from motetrace_host.stages.incoming import read, with_baggage_of
from motetrace_host.stages.outgoing import baggage_text, carried_fields

FIELDS: Final = ("traceparent", "tracestate", "baggage")
READ_FIELDS: Final = ("traceparent", "seqref", "tracestate", "baggage")
_TOPIC: Final = create_key("motetrace-topic")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The shape in which paho keeps user properties."""

    UserProperty: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Carried:
    """What was found in a carrier, in the shape of a message that `stages.incoming` reads."""

    topic: str
    payload: bytes
    properties: Pairs
    retain: bool = False
    device_id: str | None = None


def with_topic(context: Context, topic: str) -> Context:
    """Return a context that says which topic the carrier came by: a seqref's device is named there.

    Args:
        context: what will be given to `extract`.
        topic: as received. Never take it, or the device's name, from a payload.
    """
    return set_value(_TOPIC, topic, context)


class MotetracePropagator(TextMapPropagator):
    """Context in a carrier of text fields; the entry point `motetrace` of `opentelemetry_propagator`."""

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return the context that a carrier holds.

        A seqref needs the key (`stages.configure`, or MOTETRACE_KEY_FILE) and the topic (`with_topic`). What is broken
        leaves the given context as it was; nothing is raised.
        """
        base = Context() if context is None else context
        pairs = [(name, text) for name in READ_FIELDS for text in _texts(getter.get(carrier, name))]
        if not pairs:
            return base
        topic = get_value(_TOPIC, base)
        incoming = read(Carried(topic if isinstance(topic, str) else "", b"", Pairs(pairs)), base)
        context = base if incoming.remote is None else incoming.context
        carries_baggage = any(name == "baggage" for name, _ in pairs)
        return with_baggage_of(incoming.context if carries_baggage else base, context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Set traceparent, tracestate and baggage; what is empty is not set. Without a span only baggage is."""
        fields = carried_fields(context)
        if not fields:
            text = baggage_text(context)
            fields = {"baggage": text} if text else {}
        for name, text in fields.items():
            setter.set(carrier, name, text)

    @property
    def fields(self) -> set[str]:
        """The names that `inject` sets."""
        return set(FIELDS)


def _texts(values: Iterable[object] | None) -> list[str]:
    """Return what is text; a lone str is one value, not its letters."""
    if values is None:
        return []
    if isinstance(values, str):
        return [values]
    return [value for value in values if isinstance(value, str)]
