"""What a span about a message says: OpenTelemetry's messaging names, and the few of ours that users search by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from motetrace_host.core.mqtt.topics import Destinations
from motetrace_host.stages import settings

Attributes = dict[str, str | bool | int | float]
_TYPES: Final = {"publish": "send", "process": "process", "create": "create"}


def describe(operation: str, client: Any, topic: Any, topics: Destinations) -> tuple[str, Attributes]:
    """Return a span's name and its attributes.

    The name ends in the destination's template and never in a raw topic: backends group by it.

    Args:
        operation: `publish`, `process` or `create`.
        client: paho's.
        topic: the message's; "" or anything but a str is left out.
        topics: templates by option; the ones that devices are found by are tried after them.
    Source: OpenTelemetry semantic conventions, "Messaging spans"; docs/opentelemetry.md.
    """
    attributes: Attributes = {
        "messaging.system": "mqtt",
        "messaging.operation.name": operation,
        "messaging.operation.type": _TYPES[operation],
    }
    name = operation
    if isinstance(topic, str) and topic:
        attributes["messaging.destination.name"] = topic
        device_id, device_template = settings.current().device_of(topic)
        template = topics.match(topic) or device_template
        if template is not None:
            attributes["messaging.destination.template"] = template
            name = f"{operation} {template}"
        if device_id is not None:
            attributes["device.id"] = device_id
    client_id = client._client_id  # noqa: SLF001 (paho has no public name for it)
    if client_id:
        attributes["messaging.client.id"] = client_id.decode("utf-8", "replace")
    if client.host:
        attributes["server.address"] = client.host
        attributes["server.port"] = client.port
    return name, attributes


def body_size(payload: Any) -> int | None:
    """Return how many bytes paho makes of a payload; None for what it refuses."""
    if payload is None:
        return 0
    if isinstance(payload, str):
        return len(payload) if payload.isascii() else len(payload.encode("utf-8", "replace"))
    if isinstance(payload, (bytes, bytearray)):
        return len(payload)
    if isinstance(payload, (int, float)):
        return len(str(payload))
    return None


def function_name(callback: Callable[..., object]) -> str | None:
    """Return `module.qualname` of a callback, None when it has no name."""
    name = getattr(callback, "__qualname__", None)
    return f"{getattr(callback, '__module__', '')}.{name}" if isinstance(name, str) else None
