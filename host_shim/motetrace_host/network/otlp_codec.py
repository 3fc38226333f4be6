"""OTLP trace messages by way of the protobuf library: requests in, responses out, stored rows back to spans.

`decode` splits a request into rows; a broken span is refused alone and counted by reason. `unpack` turns a stored row
back into a Span for display. Our own spans are made without the library, in core/messages/message_spans.py.
Limit: schema_url of resource and scope is not kept.
Source: opentelemetry.io/docs/specs/otlp (1.x), opentelemetry-proto collector/trace/v1/trace_service.proto.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToJson, Parse, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from motetrace_host.core.errors import WireError
from motetrace_host.core.spans.envelope import ScopeSpans, split_json, split_protobuf
from motetrace_host.core.spans.protobuf import delimited, varint
from motetrace_host.core.spans.span import AttributeValue, Span, SpanKind, SpanLink, SpanRow, Status

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

MAX_SPAN_BYTES = 65_536
MAX_RESOURCE_BYTES = 16_384
MAX_PARTS = 256  # attributes, events or links of one span
MAX_NAME_CHARACTERS = 1024
MAX_TRACESTATE_CHARACTERS = 4096
_LAST_UNIX_NS = 2**63 - 1  # SQLite's integers are signed
# What json_format raises on values of unexpected types; all of them mean the same: not OTLP JSON.
_JSON_FAULTS = (ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, KeyError)

AnyMessage = TypeVar("AnyMessage", bound=Message)


@dataclass(slots=True)
class Decoded:
    """What a request held: rows to store, refused spans by reason, and the first refusal in words."""

    rows: list[SpanRow] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    first_fault: str = ""

    def summary(self) -> str:
        """One line for partial_success.error_message, empty when nothing was refused."""
        if not self.rejected:
            return ""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.rejected.items()))
        total = self.rejected.total()
        return f"refused {total} span{'s' * (total != 1)} ({reasons}); first: {self.first_fault}"


def decode(body: bytes, content_type: str) -> Decoded:
    """Read an ExportTraceServiceRequest; `content_type` is PROTOBUF or JSON.

    Raises:
        WireError: `malformed` (the envelope is broken) or `too_many_spans`; then nothing of it is to be stored.
    """
    decoded = Decoded()
    groups: Iterable[ScopeSpans[Any]]
    envelope: Callable[[ScopeSpans[Any]], tuple[bytes, bytes]]
    read: Callable[[Any], tuple[ProtoSpan, bytes]]
    if content_type == JSON:
        groups, envelope, read = split_json(body), _json_envelope, _json_span
    else:
        groups, envelope, read = split_protobuf(body), _protobuf_envelope, _protobuf_span
    for group in groups:
        resource = scope = b""
        fault: WireError | None = None
        try:
            resource, scope = envelope(group)
            _check_envelope(resource, scope)
        except WireError as exc:
            fault = exc
        for one in group.spans:
            try:
                if fault:
                    raise fault
                span, data = read(one)
                decoded.rows.append(_row(span, resource, scope, data))
            except WireError as exc:
                decoded.rejected[exc.reason] += 1
                decoded.first_fault = decoded.first_fault or str(exc)
    return decoded


def response(rejected: int, message: str, content_type: str) -> bytes:
    """Encode an ExportTraceServiceResponse; `partial_success` is there only when something was refused."""
    reply = ExportTraceServiceResponse()
    if rejected or message:
        reply.partial_success.rejected_spans = rejected
        reply.partial_success.error_message = message
    return _encoded(reply, content_type)


def refusal(code: int, message: str, content_type: str) -> bytes:
    """Encode a google.rpc.Status, the body of every OTLP/HTTP error; `code` is a google.rpc.Code."""
    if content_type == PROTOBUF:
        return b"\x08" + varint(code) + delimited(b"\x12", message.encode("utf-8", "replace"))
    return json.dumps({"code": code, "message": message}).encode()


def partial_success(body: bytes, content_type: str) -> tuple[int, str]:
    """Read a backend's answer: rejected spans and its message; (0, "") when the body is none of that."""
    reply = ExportTraceServiceResponse()
    try:
        if content_type.startswith(JSON):
            Parse(body, reply, ignore_unknown_fields=True)
        else:
            reply.ParseFromString(body)
    except (DecodeError, *_JSON_FAULTS):
        return 0, ""
    return max(0, reply.partial_success.rejected_spans), reply.partial_success.error_message


def unpack(row: SpanRow) -> Span:
    """Make a Span of a stored row. Arrays and maps in attributes become JSON text, bytes become hex.

    Raises:
        WireError: `malformed`, when the stored bytes are not what `decode` or core/messages/message_spans.py made.
    """
    span = _parsed(ProtoSpan, row.span)
    resource = _attributes(_parsed(Resource, row.resource).attributes)
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id or None,
        name=span.name,
        kind=SpanKind(span.kind) if 0 <= span.kind <= 5 else SpanKind.UNSPECIFIED,
        start_unix_ns=span.start_time_unix_nano,
        end_unix_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        resource=resource,
        tracestate=span.trace_state,
        flags=span.flags,
        status=Status(_status_code(span)),
        status_message=span.status.message,
        links=tuple(SpanLink(link.trace_id, link.span_id, _attributes(link.attributes)) for link in span.links),
    )


def _protobuf_envelope(group: ScopeSpans[Any]) -> tuple[bytes, bytes]:
    return group.resource, group.scope


def _protobuf_span(data: Any) -> tuple[ProtoSpan, bytes]:
    _bounded("span", len(data), MAX_SPAN_BYTES, "bytes")
    return _parsed(ProtoSpan, data), data


def _json_envelope(group: ScopeSpans[Any]) -> tuple[bytes, bytes]:
    resource = _from_json(Resource(), group.resource).SerializeToString()
    return resource, _from_json(InstrumentationScope(), group.scope).SerializeToString()


def _json_span(members: Any) -> tuple[ProtoSpan, bytes]:
    span = _from_json(ProtoSpan(), _with_base64_ids(members))
    data = span.SerializeToString()
    _bounded("span", len(data), MAX_SPAN_BYTES, "bytes")
    return span, data


def _row(span: ProtoSpan, resource: bytes, scope: bytes, data: bytes) -> SpanRow:
    _check_id("trace_id", span.trace_id, 16)
    _check_id("span_id", span.span_id, 8)
    if span.parent_span_id:
        _check_id("parent_id", span.parent_span_id, 8)
    _bounded("name", len(span.name), MAX_NAME_CHARACTERS, "characters")
    _bounded("tracestate", len(span.trace_state), MAX_TRACESTATE_CHARACTERS, "characters")
    _bounded("attributes", len(span.attributes), MAX_PARTS, "items")
    _bounded("events", len(span.events), MAX_PARTS, "items")
    _bounded("links", len(span.links), MAX_PARTS, "items")
    for link in span.links:
        _check_id("link_trace_id", link.trace_id, 16)
        _check_id("link_span_id", link.span_id, 8)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    for what, unix_ns in (("start_time", start), ("end_time", end)):
        if not 0 < unix_ns <= _LAST_UNIX_NS:
            raise WireError(what, f"{what}_unix_nano {unix_ns}: expected 1..2**63-1")
    return SpanRow(span.trace_id, span.span_id, span.name, start, end, _status_code(span), resource, scope, data)


def _check_id(what: str, value: bytes, length: int) -> None:
    if len(value) != length or not any(value):
        shown = value[:32].hex() or "absent"
        raise WireError(what, f"{what} {shown} ({len(value)} bytes): expected {length} bytes, not all zero")


def _bounded(what: str, size: int, limit: int, unit: str) -> None:
    if size > limit:
        raise WireError(f"{what}_too_large", f"{what} of {size} {unit}: at most {limit}")


def _check_envelope(resource: bytes, scope: bytes) -> None:
    _bounded("resource", len(resource) + len(scope), MAX_RESOURCE_BYTES, "bytes (with its scope)")
    _parsed(Resource, resource)
    _parsed(InstrumentationScope, scope)


def _status_code(span: ProtoSpan) -> int:
    return span.status.code if 0 <= span.status.code <= 2 else 0


def _parsed(kind: type[AnyMessage], data: bytes) -> AnyMessage:
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise WireError("malformed", f"not an OTLP {kind.DESCRIPTOR.name}: {exc}") from exc
    return message


def _from_json(message: AnyMessage, members: dict[str, Any]) -> AnyMessage:
    try:
        return ParseDict(members, message, ignore_unknown_fields=True, max_recursion_depth=50)
    except _JSON_FAULTS as exc:
        # repr: the text may quote what was sent.
        raise WireError("malformed", f"not an OTLP {message.DESCRIPTOR.name}: {str(exc)[:200]!r}") from exc


def _with_base64_ids(members: dict[str, Any]) -> dict[str, Any]:
    # OTLP's JSON differs from protobuf's in one point: ids are hex instead of base64.
    converted = dict(members)
    for key, reason in (("traceId", "trace_id"), ("spanId", "span_id"), ("parentSpanId", "parent_id")):
        if key in converted:
            converted[key] = _base64_id(converted[key], reason)
    links = converted.get("links")
    if isinstance(links, list):
        converted["links"] = [_with_base64_ids(link) if isinstance(link, dict) else link for link in links]
    return converted


def _base64_id(value: object, reason: str) -> str:
    try:
        if isinstance(value, str) and value.isalnum():  # fromhex would skip white space
            return base64.b64encode(bytes.fromhex(value)).decode()
    except ValueError:
        pass
    if value is None or value == "":
        return ""
    raise WireError(reason, f"{reason} {str(value)[:64]!r}: expected hex digits")


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _displayed(pair.value) for pair in pairs}


def _displayed(value: AnyValue) -> AttributeValue:
    plain = _plain(value)
    return plain if isinstance(plain, str | bool | int | float) else json.dumps(plain)


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind)


def _encoded(message: Message, content_type: str) -> bytes:
    return MessageToJson(message, indent=None).encode() if content_type == JSON else message.SerializeToString()
