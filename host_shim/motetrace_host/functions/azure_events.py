"""What Azure hands to a Functions handler: messages of an IoT Hub or Event Hub, one or many, and HTTP requests.

Known by what they can do and not by their class, so that neither the SDK nor its version matters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from motetrace_host.functions.call import Call, Item, json_object, lower_pairs, message_of
from motetrace_host.otel.propagator import Carried
from motetrace_host.stages.stage import Value

_PROCESS: Final[dict[str, Value]] = {"messaging.operation.type": "process", "messaging.operation.name": "process"}
_EVENT_HUBS: Final[dict[str, Value]] = {"messaging.system": "eventhubs", **_PROCESS}
_SERVICE_BUS: Final[dict[str, Value]] = {"messaging.system": "servicebus", **_PROCESS}


def read(arguments: Iterable[Any]) -> Call:
    """Return what a handler's arguments say; of none that is known, that it was `other`. Nothing is raised for content.

    Args:
        arguments: in the handler's order; the first one that is an event counts.
    Source: azure.functions' EventHubEvent, ServiceBusMessage, HttpRequest, TimerRequest; Event Hubs trigger metadata.
    """
    arguments = list(arguments)
    for value in arguments:
        call = _call(value)
        if call is not None:
            return call
    for value in arguments:
        body = value.encode("utf-8", "replace") if isinstance(value, str) else value
        if isinstance(body, bytes) and json_object(body) is not None:  # a handler that asked for text or bytes
            return Call("pubsub", message_of([], body))
    return Call("other")


def _call(value: Any) -> Call | None:
    if isinstance(value, (list, tuple)):
        if not value or not all(_is_hub_event(each) for each in value):
            return None
        items = tuple(_item(each, at) for at, each in enumerate(value))
        return Call("pubsub", None, items, _EVENT_HUBS | {"messaging.batch.message_count": len(items)})
    if _is_hub_event(value):
        return Call("pubsub", _hub_message(value, None), attributes=_EVENT_HUBS)
    if not hasattr(value, "get_body"):
        return Call("timer") if hasattr(value, "past_due") else None
    if hasattr(value, "headers") and hasattr(value, "method"):
        return _request(value)
    properties = getattr(value, "application_properties", None)
    if isinstance(properties, Mapping):
        return Call("pubsub", message_of(lower_pairs(properties.items()), _body(value)), attributes=_SERVICE_BUS)
    return None


def _is_hub_event(value: Any) -> bool:
    return hasattr(value, "get_body") and hasattr(value, "iothub_metadata")


def _item(event: Any, at: int) -> Item:
    number = event.sequence_number if hasattr(event, "sequence_number") else None
    return Item("" if number is None else str(number), _hub_message(event, at), event)


def _hub_message(event: Any, at: int | None) -> Carried:
    hub = event.iothub_metadata
    device_id = hub.get("connection-device-id") if isinstance(hub, Mapping) else None
    pairs = lower_pairs(_properties(getattr(event, "metadata", None), at).items())
    return message_of(pairs, _body(event), "", device_id if isinstance(device_id, str) and device_id else None)


def _properties(metadata: Any, at: int | None) -> Mapping[str, Any]:
    """Return one event's own properties; of a batch the metadata are all events' together.

    Args:
        at: the event's place in the batch, None when it came alone.
    """
    if not isinstance(metadata, Mapping):
        return {}
    properties = metadata.get("Properties") if at is None else metadata.get("PropertiesArray")
    if isinstance(properties, str):  # a binding that left it as JSON
        try:
            properties = json.loads(properties)
        except (ValueError, RecursionError):
            return {}
    if at is not None:
        properties = properties[at] if isinstance(properties, list) and at < len(properties) else None
    return properties if isinstance(properties, Mapping) else {}


def _request(request: Any) -> Call:
    attributes: dict[str, Value] = {}
    if isinstance(request.method, str) and request.method:
        attributes["http.request.method"] = request.method
    path = _path(getattr(request, "url", None))  # without the query, where Azure's keys may stand
    if path:
        attributes["url.path"] = path
    headers = request.headers
    pairs = lower_pairs(headers.items()) if hasattr(headers, "items") else []
    return Call("http", message_of(pairs, b""), attributes=attributes)


def _path(url: Any) -> str:
    try:
        return urlsplit(url).path if isinstance(url, str) else ""
    except ValueError:
        return ""


def _body(value: Any) -> bytes:
    body = value.get_body()
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "replace")
