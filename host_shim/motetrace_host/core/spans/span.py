"""The span as the host sees it, and the row it becomes on disk.

`Span` is what is read back, and what the waterfall draws. `SpanRow` is what the span table keeps: the OTLP bytes,
untouched, beside the few columns that queries need. Numbers of kinds and statuses are those of OTLP's trace.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]


class SpanKind(IntEnum):
    """OTLP `Span.SpanKind`."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """OTLP `Status.StatusCode`."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A reference to another span: trace_id 16 bytes, span_id 8 bytes, neither all zero."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One unit of work in a trace.

    Attributes:
        trace_id: 16 bytes, span_id and parent_id: 8 bytes, none all zero; parent_id None for a root.
        start_unix_ns, end_unix_ns: 1..2**63-1; equal for an event without a length.
        attributes: str, bool, int (-2**63..2**63-1) or float values.
        resource: attributes of the service that made it, `service.name` among them.
        flags: 32 bits; bits 0-7 are W3C trace-flags (OTLP `Span.flags`).
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    name: str
    kind: SpanKind
    start_unix_ns: int
    end_unix_ns: int
    attributes: Attributes
    resource: Attributes
    tracestate: str = ""
    flags: int = 0
    status: Status = Status.UNSET
    status_message: str = ""
    links: tuple[SpanLink, ...] = ()

    @property
    def service_name(self) -> str:
        """The resource attribute `service.name`."""
        return str(self.resource.get("service.name", "unknown_service"))


class SpanRow(NamedTuple):
    """One span as stored: OTLP messages as bytes, and the columns taken from them.

    `resource`, `scope` and `span` are protobuf encodings of opentelemetry.proto's Resource, InstrumentationScope and
    Span. `id` is the row's number in the span table, 0 before it is stored.
    """

    trace_id: bytes
    span_id: bytes
    name: str
    start_unix_ns: int
    end_unix_ns: int
    status: int
    resource: bytes
    scope: bytes
    span: bytes
    id: int = 0
