"""Real paho clients on a real broker, for the tests of the instrumentation."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto

from tests.host.stages.stage_recorder import Recorder

__all__ = ["MQTTv5", "MQTTv311", "connected", "ids", "spans_named"]

WAIT_S = 60


@contextmanager
def connected(
    broker: Mosquitto,
    topic: str = "",
    *,
    callback: Callable[[Client, Any, MQTTMessage], None] | None = None,
    version: CallbackAPIVersion = CallbackAPIVersion.VERSION2,
    qos: int = 1,
    before: Callable[[Client], None] = lambda _: None,
    **options: Any,
) -> Iterator[tuple[Client, Callable[[], MQTTMessage]]]:
    """A client, subscribed when a topic is given, and how to take the next message that its `on_message` got.

    `callback` runs inside on_message before the message can be taken; `before` runs ahead of connect.
    """
    inbox: queue.Queue[MQTTMessage] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()
    options.setdefault("protocol", MQTTv5)
    client = Client(version, **options)

    def on_message(of: Client, userdata: Any, message: MQTTMessage) -> None:
        try:
            if callback is not None:
                callback(of, userdata, message)
        finally:
            inbox.put(message)

    client.on_connect = lambda *_: client.subscribe(topic, qos) if topic else ready.put(None)
    client.on_subscribe = lambda *_: ready.put(None)
    client.on_message = on_message
    before(client)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        ready.get(timeout=WAIT_S)
        yield client, lambda: inbox.get(timeout=WAIT_S)
    finally:
        client.disconnect()
        client.loop_stop()


def spans_named(recorder: Recorder, prefix: str, count: int) -> list[ReadableSpan]:
    """Wait for so many ended spans whose name begins so: a span ends after its callback has returned."""
    end = time.monotonic() + WAIT_S
    while True:
        found = [span for span in recorder.spans if span.name.startswith(prefix)]
        if len(found) >= count:
            assert len(found) == count, [span.name for span in recorder.spans]
            return found
        assert time.monotonic() < end, [span.name for span in recorder.spans]
        time.sleep(0.005)


def ids(span: Any) -> tuple[int, int]:
    """(trace id, span id) of a span, a link's context or a parent."""
    context = span.context if isinstance(span, ReadableSpan) else span
    assert context is not None
    return context.trace_id, context.span_id
