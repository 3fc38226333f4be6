"""What AWS hands to a Lambda function: the output of an IoT rule, a batch from a queue or a stream, an HTTP request.

An IoT rule's output is whatever its SQL selects, so the names under which it puts the context are a convention, the
one of docs/cloud.md. `get_user_properties('traceparent')` gives a list of all values of that name: two of them are no
context, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.functions.call import (
    CONTEXT_NAMES,
    Call,
    Item,
    base64_bytes,
    json_object,
    lower_pairs,
    message_of,
    pairs_of,
    tells_a_trace,
)
from motetrace_host.otel.propagator import Carried
from motetrace_host.stages.stage import Value

# Semantic conventions name aws_sqs and aws.sns; Kinesis has no name there yet.
_SYSTEMS: Final = {"aws:sqs": "aws_sqs", "aws:sns": "aws.sns", "aws:kinesis": "aws_kinesis"}


@dataclass(frozen=True, slots=True)
class RuleMembers:
    """Under which names an IoT rule's SQL puts what a payload must not say of itself.

    Args:
        topic: of `topic() AS topic`; None when the rule adds none.
        device_id: of `topic(2) AS device_id` or `clientid() AS device_id`; None when the rule adds none.
        data: of `encode(*, 'base64') AS data`, the payload of a binary message.
        template: where that topic names the device, such as `devices/{device_id}/telemetry`; None leaves it to
            `stages.configure`.
    Raises:
        ValueError: the template breaks a rule; names it.

    A rule that adds nothing under a name given here lets the payload speak under it.
    """

    topic: str | None = "topic"
    device_id: str | None = "device_id"
    data: str | None = "data"
    template: str | None = None
    _template: TopicTemplate | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_template", None if self.template is None else TopicTemplate(self.template))

    def device_of(self, topic: str) -> str | None:
        """Return the device that a topic names by the template."""
        return None if self._template is None or not topic else self._template.match(topic)


def read(event: Any, members: RuleMembers) -> Call:
    """Return what an event says; of a shape that is not known, that it was `other`. Nothing is raised for its content.

    Source: AWS Lambda developer guide, the events of SQS, Kinesis, SNS, API Gateway and function URLs; AWS IoT Core
    developer guide, SQL reference.
    """
    if not isinstance(event, Mapping):
        return Call("other")
    batch = event.get("Records")
    if isinstance(batch, list) and batch and all(isinstance(each, Mapping) for each in batch):
        return _batch(batch, members)
    if isinstance(event.get("requestContext"), Mapping) and "headers" in event:
        return _request(event)
    if event.get("source") == "aws.events" and "detail-type" in event:
        return Call("timer")
    return _rule_output(event, members)


def _rule_output(event: Mapping[str, Any], members: RuleMembers) -> Call:
    message = _selected(event, members, None)
    known = bool(message.properties.UserProperty or message.payload or message.topic)
    template = members.template if members.device_of(message.topic) is not None else None
    data = members.data is not None and bool(message.payload) and members.data in event
    return Call("pubsub" if known else "other", message, template=template, event=None if data else event)


def _selected(fields: Mapping[str, Any], members: RuleMembers, payload: bytes | None) -> Carried:
    """Return the message that a rule's SQL selected.

    Args:
        payload: the message as bytes where there are any; None makes the least that a bare `seq` is read from.
    """
    pairs = pairs_of(fields) or _all_properties(fields.get("user_properties"))
    if payload is None:
        data = base64_bytes(fields.get(members.data)) if members.data is not None else None
        seq = fields.get("seq")
        payload = data or b""
        if not payload and not tells_a_trace(pairs) and isinstance(seq, int):
            payload = msgspec.json.encode({"seq": seq})
    topic = _text(fields, members.topic)
    return message_of(pairs, payload, topic, members.device_of(topic) or _text(fields, members.device_id) or None)


def _all_properties(value: Any) -> list[tuple[str, str]]:
    """Return the context in what `get_user_properties()` gives without an argument: a list of one-member objects."""
    objects = [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    return [
        (name, text)
        for each in objects
        for name, text in each.items()
        if name in CONTEXT_NAMES and isinstance(text, str)
    ]


def _text(fields: Mapping[str, Any], name: str | None) -> str:
    value = fields.get(name) if name is not None else None
    return value if isinstance(value, str) else ""


def _batch(records: list[Mapping[str, Any]], members: RuleMembers) -> Call:
    first = records[0]
    source = first.get("eventSource") or first.get("EventSource")
    system = _SYSTEMS.get(source) if isinstance(source, str) else None
    if system is None:  # S3, DynamoDB: no messages, and nothing of ours in them
        return Call("datasource")
    attributes: dict[str, Value] = {
        "messaging.system": system,
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.batch.message_count": len(records),
    }
    arn = first.get("eventSourceARN") or first.get("EventSubscriptionArn")
    if isinstance(arn, str) and arn.count(":") >= 5:
        attributes["messaging.destination.name"] = arn.split(":")[5].removeprefix("stream/")
    return Call("pubsub", None, tuple(_item(each, members) for each in records), attributes)


def _item(record: Mapping[str, Any], members: RuleMembers) -> Item:
    kinesis, sns = record.get("kinesis"), record.get("Sns")
    if isinstance(kinesis, Mapping):
        body = base64_bytes(kinesis.get("data")) or b""
        return Item(_text(kinesis, "sequenceNumber"), _carried(body, [], members), record)
    if isinstance(sns, Mapping):
        body = _text(sns, "Message").encode("utf-8", "replace")
        pairs = _attribute_pairs(sns.get("MessageAttributes"), "Value")
        return Item(_text(sns, "MessageId"), _carried(body, pairs, members), record)
    body = _queued(_text(record, "body"))
    pairs = _attribute_pairs(record.get("messageAttributes"), "stringValue")
    return Item(_text(record, "messageId"), _carried(body, pairs, members), record)


def _queued(body: str) -> bytes:
    """Return an SQS body's bytes; base64 of a JSON object, as the IoT rule's `useBase64` makes it, is decoded.

    Other text that happens to be base64 stays as it is: nothing says that it was encoded.
    """
    decoded = base64_bytes(body)
    if decoded is not None and json_object(decoded) is not None:
        return decoded
    return body.encode("utf-8", "replace")


def _attribute_pairs(attributes: Any, value_name: str) -> list[tuple[str, str]]:
    if not isinstance(attributes, Mapping):
        return []
    return lower_pairs((name, each.get(value_name)) for name, each in attributes.items() if isinstance(each, Mapping))


def _carried(body: bytes, pairs: list[tuple[str, str]], members: RuleMembers) -> Carried:
    fields = json_object(body)
    if fields is None:
        return message_of(pairs, body)
    selected = _selected(fields, members, body)
    # Lists are what a rule puts there; a plain member is read from the bytes, where a repeated one is seen.
    listed = any(isinstance(fields.get(name), list) for name in (*CONTEXT_NAMES, "user_properties"))
    own = pairs or (selected.properties.UserProperty if listed else [])
    return message_of(own, body, selected.topic, selected.device_id)


def _request(event: Mapping[str, Any]) -> Call:
    request = event["requestContext"]
    http = request.get("http") if isinstance(request.get("http"), Mapping) else {}
    route = event.get("resource") or _text(event, "routeKey").partition(" ")[2]
    known = {
        "http.request.method": http.get("method") or event.get("httpMethod"),
        "url.path": event.get("rawPath") or event.get("path"),
        "http.route": route,
    }
    attributes: dict[str, Value] = {name: value for name, value in known.items() if isinstance(value, str) and value}
    return Call("http", message_of(lower_pairs(_headers(event)), b""), attributes=attributes)


def _headers(event: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    """Return the headers with all their values; API Gateway's first format keeps only the last one in `headers`."""
    several = event.get("multiValueHeaders")
    headers = several if isinstance(several, Mapping) and several else event.get("headers")
    return headers.items() if isinstance(headers, Mapping) else ()
