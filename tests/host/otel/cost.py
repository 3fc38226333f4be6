"""What the instrumentation costs, beside plain paho and beside the SDK's bare span: `python -m tests.host.otel.cost`.

One core, no network: packets are encoded and thrown away, callbacks are called by paho's own
dispatch. Spans end in a processor that drops them, so the exporter is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from motetrace_host.otel.paho_instrumentor import PahoMqttInstrumentor
from tests.host.stages.stage_recorder import TRACEPARENT, publish_properties

TOPIC = "devices/sensor-0042/telemetry"
CALLS, ROUNDS = 2_000, 9


def microseconds(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        best = min(best, time.perf_counter_ns() - started)
    return best / CALLS / 1000


class Sink(Client):
    """Encodes packets and throws them away."""

    def _packet_queue(self, *_: Any, **__: Any) -> Any:
        return 0

    def __del__(self) -> None:
        """There is no socket to close."""


def main() -> None:
    client = Sink(CallbackAPIVersion.VERSION2, "engine", protocol=MQTTv5)
    client._sock = object()  # type: ignore[assignment]
    client.on_message = lambda *_: None
    message = MQTTMessage(topic=TOPIC.encode())
    message.payload = b'{"temp":3.82}'
    message.properties = publish_properties(("traceparent", TRACEPARENT))
    calls = {
        "publish": lambda: client.publish(TOPIC, b'{"temp":3.82}'),
        "callback": lambda: client._handle_on_message(message),
    }
    plain = {name: microseconds(call) for name, call in calls.items()}
    with_property = microseconds(lambda: client.publish(TOPIC, b'{"temp":3.82}', properties=message.properties))
    print(f"publish   plain with a user property of its own {with_property:6.1f} us")
    instrumentor = PahoMqttInstrumentor()
    for what, sampler in (("recorded", ALWAYS_ON), ("not sampled", ALWAYS_OFF)):
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(SpanProcessor())
        tracer = provider.get_tracer("bare")
        attributes = {f"a{number}": "x" for number in range(10)}
        bare = microseconds(lambda: tracer.start_span("s", None, SpanKind.CONSUMER, attributes).end())  # noqa: B023
        instrumentor.instrument(tracer_provider=provider)
        for name, call in calls.items():
            traced = microseconds(call)
            print(f"{name:9} {what:12} plain {plain[name]:6.1f} us, traced {traced:6.1f} us, bare span {bare:6.1f} us")
        instrumentor.uninstrument()


if __name__ == "__main__":
    main()
