"""Recorded events, and what the platforms hand to a handler beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

VECTORS = Path(__file__).parents[2] / "vectors" / "cloud"
TRACE_ID, PARENT_ID = "0123456789000000110a0b0c0d0e0f10", "aabbccdd00000011"
SECOND_TRACE_ID, SECOND_PARENT_ID = "0123456789000000120a0b0c0d0e0f20", "aabbccdd00000012"


def event(name: str) -> Any:
    """A recorded event, a new one each time."""
    return json.loads((VECTORS / f"{name}.json").read_text())["event"]


@dataclass
class LambdaContext:
    """What Lambda gives as context."""

    aws_request_id: str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    function_name: str = "clean"
    function_version: str = "7"
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:clean"
    memory_limit_in_mb: str = "128"
    log_group_name: str = "/aws/lambda/clean"
    log_stream_name: str = "2025/01/01/[7]58419525dade4d17a495dceeeed44708"
    left_ms: int = 3000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@dataclass
class AzureContext:
    """What the worker gives as azure.functions.Context."""

    invocation_id: str = "f0f3f5f7-0f2e-4c8e-9d52-5a3e4ab0c5ee"
    function_name: str = "Clean"
    function_directory: str = "/home/site/wwwroot"


class HubEvent:
    """The shape of azure.functions.EventHubEvent."""

    def __init__(self, body: str, metadata: dict[str, Any], system: dict[str, Any]) -> None:
        self._body = body.encode()
        self.metadata = metadata
        self.sequence_number = system["SequenceNumber"]
        self.iothub_metadata = {
            name.removeprefix("iothub-"): value for name, value in system.items() if name.startswith("iothub-")
        }

    def get_body(self) -> bytes:
        return self._body


def hub_event(name: str) -> HubEvent:
    one = event(name)
    return HubEvent(one["body"], one["metadata"], one["metadata"]["SystemProperties"])


def hub_events(name: str) -> list[HubEvent]:
    many = event(name)
    systems = many["metadata"]["SystemPropertiesArray"]
    return [HubEvent(body, many["metadata"], system) for body, system in zip(many["bodies"], systems, strict=True)]


class HttpRequest:
    """The shape of azure.functions.HttpRequest."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        self.method, self.url, self.headers = recorded["method"], recorded["url"], recorded["headers"]
        self._body = recorded["body"].encode()

    def get_body(self) -> bytes:
        return self._body


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(of: Any) -> tuple[str, str]:
    """Trace id and span id of a span, a link, a parent."""
    context = of.context if hasattr(of, "context") else of
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def links(span: ReadableSpan) -> list[tuple[str, str]]:
    return [ids(link) for link in span.links]
