"""A service that republishes without the context: nobody is accused, and the sentence says what to do."""

from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from click.testing import CliRunner
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto

from motetrace_host.cli import main
from tests import tables
from tests.faults.shim_process import ShimProcess
from tests.stage_runner import running
from tests.waiting import until

NONCE = "3f2a9c01d4"
READINGS = 10
SERVICES = Path(__file__).parent / "forgetful_services.py"


def test_a_rule_that_republishes_without_inject_is_named_and_no_hop_is_accused(
    mosquitto: Mosquitto, make_shim: Callable[..., ShimProcess], tmp_path: Path
) -> None:
    shim = make_shim(mosquitto.port).start()
    with running(SERVICES, "my-func", mosquitto, tmp_path / "services.log"):
        device = paho.Client(paho.CallbackAPIVersion.VERSION2, "device", protocol=paho.MQTTv5)
        device.connect(mosquitto.host, mosquitto.port)
        device.loop_start()
        for seq in range(1, READINGS + 1):
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("traceparent", f"00-{NONCE}{seq:08x}5f5f5f5f5f5f5f-a1b2c3d4{seq:08x}-03")]
            device.publish("devices/s/telemetry", b"{}", 1, properties=properties).wait_for_publish(60)
        device.publish("devices/s/telemetry", b"end", 1).wait_for_publish(60)
        query = "SELECT hop, unnumbered FROM hop_service"
        until(lambda: ("db", READINGS) in tables.query(shim.state / "motetrace.db", query), "both hops report")
        device.disconnect()
        device.loop_stop()
    assert shim.terminate() == 0

    shown = CliRunner().invoke(main, ["trace", "s", "--seq", "5", "--state", str(shim.state)]).output
    assert "UNCERTAIN between rule engine and function" in shown
    assert f"my-func got {READINGS} messages without a number" in shown
    assert "FILTERED" not in shown
    assert "LOST" not in shown
    listed = CliRunner().invoke(main, ["devices", "--state", str(shim.state)]).output
    assert f"my-func got {READINGS} messages without a number: somebody before it republishes" in listed
