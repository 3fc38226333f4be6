"""Birth, stats and sampling with the real clients through a real broker, outage included."""

import json

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto

from tests.device import interpreters
from tests.device.session import DeviceError, Session
from tests.waiting import LIMIT_S, until

SETUP = """
from motetrace import Tracer
from motetrace.messages import birth
from motetrace.messages import Counted
from motetrace.sampling import Sampling
from motetrace.messages import Stats
t = Tracer({mode!r})
stats = Stats(t)
sampling = Sampling(t)
{client}
def heard(topic, msg, retained, dup):
    sampling.desired(msg, retained)
mqtt.set_callback(heard)
mqtt.set_callback_status(stats.status)
client = Counted(carrier, stats)
def begin():
    mqtt.connect()
    mqtt.subscribe(b"motetrace/d/sampling/desired", 1)
    carrier.plain(b"motetrace/d/birth", birth(t, "1.0", {{"line": 7}}), True, 1)
def read(n):
    client.publish(b"devices/d/telemetry", b'{{"n":%d}}' % n, False, 1)
def serve():
    mqtt.check_msg()
    if sampling.poll():
        carrier.plain(b"motetrace/d/sampling/reported", sampling.reported(), True)
        sampling.new = False
    return stats.acked, stats.in_flight.pending
def tell():
    carrier.plain(b"motetrace/d/stats", stats.build())
    stats.failed.forget()
"""
CLIENTS = {
    "simple2": (
        "from umqtt.simple2 import MQTTClient; from motetrace.simple2 import JsonMember\n"
        "mqtt = MQTTClient('d', {host!r}, {port}, message_timeout=20)\ncarrier = JsonMember(mqtt, t)"
    ),
    "mqtt5": (
        "from motetrace.mqtt5 import MQTTClient\n"
        "mqtt = carrier = MQTTClient('d', {host!r}, {port}, message_timeout=20, tracer=t)"
    ),
}


class Operator:
    """Hears everything under motetrace/, and says what is to be sampled."""

    def __init__(self, broker: Mosquitto) -> None:
        self.heard: dict[str, dict[str, object]] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("motetrace/#", 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if message.payload:
            self.heard[message.topic.removeprefix("motetrace/d/")] = json.loads(message.payload)

    def wish(self, payload: bytes) -> None:
        self._client.publish("motetrace/d/sampling/desired", payload, 1, retain=True).wait_for_publish(LIMIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("mode", ["traceparent", "seqref"])
def test_a_device_tells_and_obeys_through_a_broker_and_over_an_outage(
    interpreter: str, name: str, mode: str, mosquitto: Mosquitto
) -> None:
    operator = Operator(mosquitto)
    try:
        with Session(interpreter) as device:
            device.run(SETUP.format(mode=mode, client=CLIENTS[name].format(host=mosquitto.host, port=mosquitto.port)))
            operator.wish(b'{"mode":"on","rate":0.25,"for_s":3600}')
            device.run("begin()")
            for n in range(5):
                device.run(f"read({n})")
            until(lambda: device.ask("serve()") == [5, 0])
            until(lambda: device.ask("serve()") and "sampling/reported" in operator.heard)
            until(lambda: "birth" in operator.heard)
            reported = operator.heard["sampling/reported"]
            assert (reported["mode"], reported["threshold"], reported["refused"]) == ("on", 49152, 0)
            assert operator.heard["birth"]["baggage"] == {"line": "7"}

            mosquitto.kill()
            until(lambda: not _reads(device))
            failed = device.ask("t.seq()")
            mosquitto.start()
            operator.close()
            operator = Operator(mosquitto)
            device.run("begin(); read(99)")
            until(lambda: device.ask("serve()")[0] >= 6)
            device.run("tell()")
            until(lambda: "stats" in operator.heard)
            said = operator.heard["stats"]
            assert said["failed"][-1][1] == failed  # type: ignore[index]
            assert said["seq"] == failed + 1
            assert said["acked"] == 6
            assert said["seq"] == 6 + said["pending"] + sum(b - a + 1 for a, b in said["failed"])  # type: ignore[attr-defined]
            assert 0 <= said["rtt_ms"] < 20_000  # type: ignore[operator]
    finally:
        operator.close()


def _reads(device: Session) -> bool:
    try:
        device.run("read(0)")
    except DeviceError as error:
        assert error.name in ("OSError", "MQTTException")
        return False
    return True
