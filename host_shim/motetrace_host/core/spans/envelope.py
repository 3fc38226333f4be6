"""The envelope of an OTLP trace request: resources, their scopes, their spans; nothing inside a span is looked at.

Protobuf spans come out as the bytes that came in, JSON spans as dicts. The number of parts is bounded before any is
built (see core/spans/protobuf.py for why).
Source: opentelemetry-proto trace/v1/trace.proto (ResourceSpans, ScopeSpans); docs/specs/otlp, "JSON Protobuf Encoding".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from motetrace_host.core.errors import WireError
from motetrace_host.core.spans.protobuf import delimited, fields
from motetrace_host.core.spans.span import SpanRow

MAX_SPANS = 10_000
_MAX_FIELDS = 5 * MAX_SPANS  # of the envelope: resources, scopes, spans and unknown ones together

Part = TypeVar("Part")
JsonObject = dict[str, Any]


class ScopeSpans(NamedTuple, Generic[Part]):
    """Spans that share resource and scope. Part is `bytes` (protobuf) or a JSON object."""

    resource: Part
    scope: Part
    spans: list[Part]


def split_protobuf(body: bytes) -> list[ScopeSpans[bytes]]:
    """Split an ExportTraceServiceRequest.

    Raises:
        WireError: `malformed`, or `too_many_spans` beyond MAX_SPANS spans or five times as many parts.
    """
    budget = _Budget()
    groups = []
    try:
        for resource_spans in _contents(memoryview(body), 1, budget):
            resource, scopes = b"", []
            for number, content in _counted(resource_spans, budget):
                if number == 1:
                    resource += bytes(content)  # protobuf: a message given in pieces is their concatenation
                elif number == 2:
                    scopes.append(content)
            for scope_spans in scopes:
                scope, spans = b"", []
                for number, content in _counted(scope_spans, budget):
                    if number == 1:
                        scope += bytes(content)
                    elif number == 2:
                        budget.spend_span()
                        spans.append(bytes(content))
                groups.append(ScopeSpans(resource, scope, spans))
    except ValueError as exc:
        raise _malformed(exc) from exc
    return groups


def split_json(body: bytes) -> list[ScopeSpans[JsonObject]]:
    """Split the JSON form of an ExportTraceServiceRequest; unknown members are ignored. Raises as `split_protobuf`."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc) from exc
    budget = _Budget()
    return [
        ScopeSpans(
            _object(resource_spans.get("resource"), "resource"),
            _object(scope_spans.get("scope"), "scope"),
            list(_objects(scope_spans, "spans", budget, spans=True)),
        )
        for resource_spans in _objects(_object(parsed, "request"), "resourceSpans", budget)
        for scope_spans in _objects(resource_spans, "scopeSpans", budget)
    ]


def join(rows: list[SpanRow]) -> bytes:
    """Make one ExportTraceServiceRequest of stored spans, grouped by resource and scope in order of appearance."""
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    for row in rows:
        scopes = resources.setdefault(row.resource, {})
        scopes.setdefault(row.scope, []).append(delimited(b"\x12", row.span))
    request = []
    for resource, scopes in resources.items():
        scope_spans = b"".join(
            delimited(b"\x12", delimited(b"\x0a", scope) + b"".join(spans)) for scope, spans in scopes.items()
        )
        request.append(delimited(b"\x0a", delimited(b"\x0a", resource) + scope_spans))
    return b"".join(request)


class _Budget:
    """Counts parts down and refuses the request when there are too many."""

    def __init__(self) -> None:
        self._fields = _MAX_FIELDS
        self._spans = MAX_SPANS

    def spend(self) -> None:
        self._fields -= 1
        if self._fields < 0:
            raise WireError("too_many_spans", f"more than {_MAX_FIELDS} parts in one request; send smaller batches")

    def spend_span(self) -> None:
        self._spans -= 1
        if self._spans < 0:
            raise WireError("too_many_spans", f"more than {MAX_SPANS} spans in one request; send smaller batches")


def _malformed(exc: Exception) -> WireError:
    # RecursionError and json's own messages never quote the input.
    return exc if isinstance(exc, WireError) else WireError("malformed", f"not an OTLP trace request: {exc}")


def _counted(message: memoryview, budget: _Budget) -> Iterator[tuple[int, memoryview]]:
    for number, content in fields(message):
        budget.spend()
        if content is not None:
            yield number, content
        elif number <= 2:
            raise ValueError(f"field {number} is not length-delimited")


def _contents(message: memoryview, wanted: int, budget: _Budget) -> Iterator[memoryview]:
    return (content for number, content in _counted(message, budget) if number == wanted)


def _object(value: object, what: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WireError("malformed", f"{what} is a JSON {type(value).__name__}; expected an object")
    return value


def _objects(parent: JsonObject, name: str, budget: _Budget, *, spans: bool = False) -> Iterator[JsonObject]:
    value = parent.get(name)
    if value is None:
        return
    if not isinstance(value, list):
        raise WireError("malformed", f"{name} is a JSON {type(value).__name__}; expected an array")
    for item in value:
        budget.spend()
        if spans:
            budget.spend_span()
        yield _object(item, name)
