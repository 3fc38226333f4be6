"""Spans as the protobuf library encodes them: what our own bytes are held against, and what tests store and send."""

from __future__ import annotations

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as ProtoStatus

from motetrace_host.core.spans.span import Attributes, AttributeValue, Span, SpanRow


def proto_value(value: AttributeValue) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(double_value=value)


def proto_attributes(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=proto_value(value)) for key, value in attributes.items()]


def proto_resource(service_name: str, more: Attributes | None = None) -> Resource:
    """A Resource: service.name first, then the others in their order."""
    return Resource(attributes=proto_attributes({"service.name": service_name, **(more or {})}))


def proto_span(span: Span) -> ProtoSpan:
    """The Span message; resource and service name are not part of it."""
    message = ProtoSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id or b"",
        trace_state=span.tracestate,
        flags=span.flags,
        name=span.name,
        kind=int(span.kind),  # type: ignore[arg-type]
        start_time_unix_nano=span.start_unix_ns,
        end_time_unix_nano=span.end_unix_ns,
        attributes=proto_attributes(span.attributes),
    )
    for link in span.links:
        message.links.add(trace_id=link.trace_id, span_id=link.span_id, attributes=proto_attributes(link.attributes))
    if span.status or span.status_message:
        message.status.CopyFrom(ProtoStatus(code=int(span.status), message=span.status_message))  # type: ignore[arg-type]
    return message


def pack(span: Span) -> SpanRow:
    """The row that a span becomes when somebody sends it to the shim."""
    return SpanRow(
        span.trace_id,
        span.span_id,
        span.name,
        span.start_unix_ns,
        span.end_unix_ns,
        int(span.status),
        Resource(attributes=proto_attributes(span.resource)).SerializeToString(),
        InstrumentationScope(name="motetrace").SerializeToString(),
        proto_span(span).SerializeToString(),
    )
