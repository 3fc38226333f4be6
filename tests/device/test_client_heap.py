"""Heap per publish through a real broker: the traced clients beside the plain one, in one process."""

from collections.abc import Callable
from typing import Any

import pytest
from services import Mosquitto

from tests.device.device_clients import client
from tests.device.interpreters import MICROPYTHONS

HEAP = """
import gc
def heap_per_publish(publish, n=20):
    publish()
    gc.collect()
    empty = mem_total()
    empty = mem_total() - empty
    before = mem_total()
    i = 0
    while i < n:
        publish()
        i += 1
    return (mem_total() - before - empty) / n
payload = b'{"temp":21.5}'
plain = Simple2("plain", HOST, PORT)
plain.connect()
def traced(): c.publish(b"devices/d/telemetry", payload)
def untraced(): plain.publish(b"devices/d/telemetry", payload)
"""


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
@pytest.mark.parametrize("carrier", ("mqtt5", "json"))
@pytest.mark.parametrize("mode", ("traceparent", "seqref"))
def test_a_traced_publish_to_a_real_broker_takes_no_heap_where_the_plain_client_takes_hundreds_of_bytes(
    mosquitto: Mosquitto, interpreter: str, carrier: str, mode: str, record_property: Callable[[str, Any], None]
) -> None:
    with client(interpreter, carrier, mosquitto.host, mosquitto.port, mode=mode) as device:
        device.run(f"HOST, PORT = {mosquitto.host!r}, {mosquitto.port}")
        device.run(HEAP)
        traced, plain = device.ask("heap_per_publish(traced), heap_per_publish(untraced)")
        record_property("heap_bytes_plain", plain)
        assert traced == 0
        assert plain > 500
        device.run("def both():\n  t.mark()\n  traced()")
        assert device.ask("heap_per_publish(both)") == 0
