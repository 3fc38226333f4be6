"""The two spans that the shim makes of a message: `device_publish` and `broker_forward`.

Nothing is invented: `device_publish` has a length only when the device told the reading's age, `broker_forward` is a
point at the receive time, and no latency attribute is there because nothing measured one.
"""

from __future__ import annotations

from collections.abc import Mapping

from motetrace_host.core.derive import derive_span_id
from motetrace_host.core.message import Message
from motetrace_host.core.span import AttributeValue, Span, SpanKind

DEVICE_SERVICE = "device"
BROKER_SERVICE = "mqtt-broker"
_NS_PER_MS = 1_000_000


def spans(message: Message, birth: Mapping[str, AttributeValue], broker: str, client_id: str) -> tuple[Span, ...]:
    """Make the spans of a message; none when the device did not sample it.

    Args:
        birth: attributes from the birth message of this boot (`device.firmware`, `baggage.<key>`), may be empty.
        broker: `host:port`.
        client_id: of the shim, the client that `broker_forward` ends at.
    Source: DESIGN.md, "The five spans"; OpenTelemetry semantic conventions for messaging.
    """
    if not message.sampled:
        return ()
    return device_publish(message, birth), broker_forward(message, broker, client_id)


def device_publish(message: Message, birth: Mapping[str, AttributeValue]) -> Span:
    """The device's own span: it ends when the shim received the message and began `age_ms` before.

    A root, or the child of the span that a foreign traceparent names.
    """
    end = message.received_unix_ns
    attributes = _common(message)
    attributes["messaging.operation.name"] = "publish"
    attributes["messaging.operation.type"] = "send"
    attributes["messaging.message.body.size"] = message.payload_bytes
    if message.age_ms is not None:
        attributes["device.age_ms"] = message.age_ms
    attributes.update(birth)
    return Span(
        trace_id=message.trace_id,
        span_id=message.span_id,
        parent_id=message.parent_id,
        name="device_publish",
        kind=SpanKind.PRODUCER,
        start_unix_ns=max(1, end - (message.age_ms or 0) * _NS_PER_MS),
        end_unix_ns=end,
        attributes=attributes,
        service_name=DEVICE_SERVICE,
        tracestate=message.tracestate,
        flags=message.flags,
    )


def broker_forward(message: Message, broker: str, client_id: str) -> Span:
    """The broker's hand-over to the shim, a point in time."""
    attributes = _common(message)
    attributes["mqtt.broker"] = broker
    attributes["messaging.operation.name"] = "forward"
    attributes["messaging.operation.type"] = "receive"
    attributes["messaging.client.id"] = client_id
    return Span(
        trace_id=message.trace_id,
        span_id=derive_span_id(message.trace_id, message.span_id, "broker_forward"),
        parent_id=message.span_id,
        name="broker_forward",
        kind=SpanKind.INTERNAL,
        start_unix_ns=message.received_unix_ns,
        end_unix_ns=message.received_unix_ns,
        attributes=attributes,
        service_name=BROKER_SERVICE,
        tracestate=message.tracestate,
        flags=message.flags,
    )


def _common(message: Message) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "device.id": message.device_id,
        "mqtt.topic": message.topic,
        "mqtt.qos": message.qos,
        "messaging.system": "mqtt",
        "messaging.destination.name": message.topic,
        "messaging.destination.template": message.template,
        "trace.origin": message.origin,
        "trace.carrier": message.carrier,
    }
    if message.boot_nonce is not None and message.seq is not None:
        attributes["device.boot_nonce"] = message.boot_nonce.hex()
        attributes["device.seq"] = message.seq
    return attributes
