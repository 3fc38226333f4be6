"""The shim's peers, each a process of its own: `python peers.py bare|sdk|sdk1 HOST PORT MESSAGES OTLP_URL`.

bare: a paho subscriber that counts. sdk and sdk1 (1 % sampled): the plain way to trace MQTT in Python, one
OpenTelemetry SDK span for each message with the context extracted by the SDK's propagator, and the OTLP/HTTP exporter.
"""

import signal
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions


def _client(on_message) -> mqtt.Client:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="peer", protocol=mqtt.MQTTv5)
    client.on_connect = lambda *_: client.subscribe("devices/+/telemetry", options=SubscribeOptions(qos=1))
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = on_message
    return client


def _sdk(otlp_url: str, share: float):
    from opentelemetry import propagate, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    # Not parent-based: devices set the sampled flag, and everything would be kept.
    provider = TracerProvider(sampler=TraceIdRatioBased(share))
    exporter = OTLPSpanExporter(f"{otlp_url}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=65536, max_export_batch_size=4096))
    tracer = provider.get_tracer("peer")

    def span(message: mqtt.MQTTMessage) -> None:
        carrier = dict(getattr(message.properties or Properties(3), "UserProperty", []))
        with tracer.start_as_current_span(
            "devices/{device_id}/telemetry process", propagate.extract(carrier), kind=trace.SpanKind.CONSUMER
        ) as current:
            current.set_attribute("messaging.system", "mqtt")
            current.set_attribute("messaging.destination.name", message.topic)
            current.set_attribute("device.id", message.topic.split("/")[1])
            current.set_attribute("mqtt.qos", message.qos)

    return span, provider.shutdown


def main(kind: str, host: str, port: str, messages: str, otlp_url: str) -> None:
    shares = {"sdk": 1.0, "sdk1": 0.01}
    work, finish = _sdk(otlp_url, shares[kind]) if kind in shares else (lambda message: None, lambda: None)
    left = int(messages)
    done = threading.Event()

    def on_message(client, userdata, message) -> None:
        nonlocal left
        work(message)
        left -= 1
        if left == 0:
            done.set()

    client = _client(on_message)
    client.connect(host, int(port))
    client.loop_start()
    done.wait(120)
    finish()
    print("done", flush=True)
    signal.pause()  # its last acknowledgements may still be on their way; it is terminated


if __name__ == "__main__":
    main(*sys.argv[1:])
