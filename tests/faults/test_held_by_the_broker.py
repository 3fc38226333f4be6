"""How long a real broker kept a real device's reading shows in its trace, without any clock of the device."""

import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from services import Mosquitto

from tests.device.session import Session
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]

HELD = b"mqtt.delivery_latency_ms"
PUBLISH = "c.publish(b'devices/d/telemetry', b'{}', False, 1)"
DEVICE = """
from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient
t = Tracer({mode!r})
c = MQTTClient(b"d", {host!r}, {port}, tracer=t, expiry=3600)
c.connect()
c.plain(b"motetrace/d/birth", birth(t, "1.0", expiry_s=3600), True, 1)
"""


@pytest.mark.parametrize("mode", ["traceparent", "seqref"])
def test_a_reading_that_waited_for_the_shim_is_placed_where_it_was_published(
    mosquitto: Mosquitto, make_shim: MakeShim, mode: str
) -> None:
    shim = make_shim(mosquitto.port).start()
    with Session("micropython32") as device:
        device.run(DEVICE.format(mode=mode, host=mosquitto.host, port=mosquitto.port))
        device.run(PUBLISH)
        until(lambda: shim.count("message") == 1, "a reading that does not wait")
        assert shim.terminate() == 0
        device.run("t.mark()\n" + PUBLISH)
        published = time.time()
        time.sleep(2.3)  # what is measured is whole seconds
        shim.start()
        until(lambda: shim.count("message") == 2, "the reading that waited")
        device.run(PUBLISH)
        until(lambda: shim.count("message") == 3, "one that does not wait")
    assert shim.terminate() == 0

    spans = shim.query("SELECT name, start_unix_ns / 1e9, end_unix_ns / 1e9, span FROM span ORDER BY end_unix_ns")
    at_once, waited = [span for span in spans if span[3].find(HELD) < 0], [span for span in spans if HELD in span[3]]
    assert {name for name, *_ in waited} == {"broker_forward"}
    ((_, begun, ended, _),) = waited
    assert round(ended - begun, 6) in (2, 3), "whole seconds; the broker looks at its clock once a second"
    assert abs(begun - published) < 1.5
    (publish,) = [end for name, _, end, _ in at_once if name == "device_publish" and end == begun]
    assert publish == begun
    assert all(start == end for name, start, end, _ in at_once if name == "broker_forward")
    assert len(spans) == 6

    said = subprocess.run(
        [sys.executable, "-m", "motetrace_host", "trace", "d", "--seq", "2", "--state", shim.state],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert re.search(r"kept by the broker for [23] s$", said, re.MULTILINE), said
