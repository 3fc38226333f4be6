"""Log lines that say which trace, and which device's message, they belong to.

    handler.addFilter(TraceContextFilter())                                    # logging
    structlog.configure(processors=[add_trace_context, ...])                   # structlog

The fields are OpenTelemetry's for logs outside OTLP, `trace_id`, `span_id` and `trace_flags`, and `device.id` and
`device.seq` as the spans have them. Without a span nothing is added: no empty fields in JSON, and a cost of well below
a microsecond.

Why not `otelTraceID` and its like: those are one instrumentation's own names, and two sets of fields in every line help
nobody. A field that the application set itself stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from opentelemetry.trace import get_current_span

from motetrace_host.stages.incoming import device_message

Fields = dict[str, str | int]


def trace_context() -> Fields:
    """Return the fields of the current context.

    Returns:
        trace_id (32 hex), span_id (16 hex), trace_flags (2 hex); device.id and device.seq where the context came from a
        message that told them, by a stage, a function or an instrumented callback. Empty without a valid span.
    Source: OpenTelemetry specification, "Trace Context in non-OTLP Log Formats".
    """
    span = get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    fields: Fields = {
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "trace_flags": f"{span.trace_flags:02x}",
    }
    message = device_message()
    if message is not None:
        if message.device_id is not None:
            fields["device.id"] = message.device_id
        if message.seq is not None:
            fields["device.seq"] = message.seq
    return fields


class TraceContextFilter(logging.Filter):
    """Adds the fields to every record that passes a handler; lets all pass.

    Put it on handlers: a filter on a logger does not see what its children log. In front of a queue, put it on the
    `QueueHandler`, because the listener's thread has no current span. A format that names a field needs
    `Formatter(..., defaults={"trace_id": "-"})` for the records that have none.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not have yet."""
        for name, value in trace_context().items():
            record.__dict__.setdefault(name, value)
        return True


def add_trace_context(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields to a structlog event that does not have them yet; a processor, in front of the renderer."""
    for name, value in trace_context().items():
        event.setdefault(name, value)
    return event
