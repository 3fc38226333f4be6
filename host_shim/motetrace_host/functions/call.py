"""What an event says, whatever the platform: what triggered the function, and the messages that it carries."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from motetrace_host.core.mqtt.topics import is_device_id
from motetrace_host.otel.propagator import READ_FIELDS, Carried, Pairs
from motetrace_host.stages.stage import Value, readable

CONTEXT_NAMES: Final = frozenset(READ_FIELDS)
_TELLS_A_TRACE: Final = frozenset(("traceparent", "seqref"))
_JSON_SPACE: Final = b" \t\r\n"
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a batch.

    Args:
        id: what the platform knows it by, "" when it does not say: SQS' messageId, Kinesis' and Event Hubs' sequence
            number; the `itemIdentifier` of a partial failure.
        message: in the shape that a stage reads.
        source: the platform's own record.
    """

    id: str
    message: Carried
    source: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation, as far as its event tells.

    Args:
        trigger: faas.trigger: `http`, `pubsub`, `datasource`, `timer` or `other`.
        message: of an event that is one message; None for a batch, and where there is none.
        items: of a batch.
        attributes: what the event says besides, by OpenTelemetry's names.
        template: by which the message's topic named the device, when the function was told one.
        event: the members of a message whose payload came as nothing else.
    """

    trigger: str
    message: Carried | None = None
    items: tuple[Item, ...] | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    template: str | None = None
    event: Mapping[str, Any] | None = None


def pairs_of(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the context in a mapping as pairs; a list of values gives as many, so that a repeated one is refused."""
    return [(name, text) for name in READ_FIELDS for text in texts(fields.get(name))]


def texts(value: Any) -> list[str]:
    """Return what is text: of a str itself, of a list its strings."""
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, (list, tuple)) else []


def lower_pairs(headers: Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    """Return the context in headers, whose names may be of any case."""
    named = [(name.lower(), value) for name, value in headers if isinstance(name, str)]
    return [(name, text) for name, value in named if name in CONTEXT_NAMES for text in texts(value)]


def tells_a_trace(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether a traceparent or a seqref is among them."""
    return any(name in _TELLS_A_TRACE for name, _ in pairs)


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return the members of a body that is a JSON object, else None."""
    if body.lstrip(_JSON_SPACE)[:1] != b"{":
        return None
    try:
        return _OBJECT.decode(body)
    except (ValueError, RecursionError):
        return None


def base64_bytes(text: Any) -> bytes | None:
    """Return what a base64 text encodes, None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        return b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one; so is what a non-ASCII character raises
        return None


def message_of(pairs: list[tuple[str, str]], payload: bytes, topic: str = "", device_id: str | None = None) -> Carried:
    """Return a message in the shape that a stage reads; a device id that can be none is left out."""
    known = device_id if device_id is not None and is_device_id(device_id) else None
    return Carried(readable(topic), payload, Pairs(pairs), False, known)
