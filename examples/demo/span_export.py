"""Where this process's spans go: set up once, by the application, with OpenTelemetry's own SDK."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def start(service_name: str, otlp_url: str) -> TracerProvider:
    """Send the spans of this process to an OTLP/HTTP receiver; `shutdown()` of the result flushes.

    Args:
        otlp_url: such as http://127.0.0.1:4318.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    exporter = OTLPSpanExporter(endpoint=f"{otlp_url.rstrip('/')}/v1/traces")
    # The default queue of 2048 drops under load with only a log line.
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=65536, max_export_batch_size=4096, schedule_delay_millis=500)
    )
    trace.set_tracer_provider(provider)
    return provider
