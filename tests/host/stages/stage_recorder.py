"""A message to read and a recording SDK, for the tests of the stages."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TRACE_ID = "0123456789000000110a0b0c0d0e0f10"
PARENT_ID = "aabbccdd00000011"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-03"
KEY = bytes(range(32))


@dataclass
class FakeMessage:
    """The shape of paho's MQTTMessage."""

    topic: str = "devices/sensor-0042/telemetry"
    payload: bytes = b'{"temp":3.82}'
    properties: Properties | None = None
    retain: bool = False


def publish_properties(*pairs: tuple[str, str]) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    if pairs:
        properties.UserProperty = list(pairs)
    return properties


class Recorder:
    """A tracer whose finished spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource.create({"service.name": "test"}))
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def only(self) -> ReadableSpan:
        (span,) = self.spans
        return span
