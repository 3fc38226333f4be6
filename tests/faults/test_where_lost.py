"""Real broker, shim, rule engine and function: where each message went is told in a sentence, and is what happened."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto

from motetrace_host.cli import main
from motetrace_host.storage import database
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.faults.shim_process import ShimProcess
from tests.stage_runner import running
from tests.waiting import until

STAGES = Path(__file__).parents[1] / "host/hops/stage_process.py"
NONCE = "3f2a9c01d4"
ASTRAY = 11
WHERE = {
    1: "STORED",
    3: "FILTERED by the rule",
    7: "FAILED at the rule engine",
    10: "FAILED at the database",
    ASTRAY: "LOST between broker and rule engine",
    21: "FAILED on the device",
    22: "LOST between device and shim",
    23: "NOT SENT yet",
}


def publish_all(broker: Mosquitto) -> None:
    """A device that assigns 1..22: 21 fails to publish, 22 is gone, and one goes to a topic of nobody but the shim."""
    client = Client(CallbackAPIVersion.VERSION2, "device", protocol=MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for seq in range(1, 21):
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("traceparent", f"00-{NONCE}{seq:08x}5f5f5f5f5f5f5f-a1b2c3d4{seq:08x}-03")]
        topic = "devices/s/elsewhere" if seq == ASTRAY else "devices/s/telemetry"
        client.publish(topic, f"{NONCE}-{seq}", 1, properties=properties).wait_for_publish(20)
    client.publish("devices/s/telemetry", b"end", 1).wait_for_publish(20)
    said = {"v": 1, "nonce": NONCE, "seq": 22, "failed": [[21, 21]], "acked": 20, "lost": 1, "rtt_ms": 3}
    client.publish("motetrace/s/stats", json.dumps(said), 1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def highest(state: Path) -> dict[str, int]:
    connection = database.connect(state / "motetrace.db")
    try:
        return {row.hop: row.seen.highest for row in SqliteLedger(connection).read(None, bytes.fromhex(NONCE))}
    finally:
        connection.close()


def test_each_message_is_where_it_went(
    mosquitto: Mosquitto,
    make_shim: Callable[..., ShimProcess],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shim = make_shim(mosquitto.port, topic="devices/{device_id}/#").start()
    with (
        running(STAGES, "rule", mosquitto, tmp_path / "rule.log"),
        running(STAGES, "function", mosquitto, tmp_path / "function.log"),
    ):
        publish_all(mosquitto)
        done = {"shim": 20, "rule": 20, "function": 20, "db": 20, "device.failed": 21}
        until(lambda: done.items() <= highest(shim.state).items(), "all hops report")
    # An hour later, so that what is missing will not come.
    later = SimpleNamespace(time_ns=lambda: time.time_ns() + 3_600 * 10**9)
    monkeypatch.setattr("motetrace_host.commands.trace.time", later)
    for seq, told in WHERE.items():
        result = CliRunner().invoke(main, ["trace", "s", "--seq", str(seq), "--state", str(shim.state)])
        assert told in result.output, result.output
    assert shim.terminate() == 0
    result = CliRunner().invoke(main, ["db", "check", "--state", str(shim.state)])
    assert result.exit_code == 0, result.output
