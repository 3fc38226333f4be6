"""Reports through a real broker, from real processes: what arrives is what the processes did, exactly."""

from __future__ import annotations

import base64
import hashlib
import os
import queue
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from services import Mosquitto

from motetrace_host import stages
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.shim.hop_reports import HopReports
from motetrace_host.stages import reporting
from tests.host.app.certificates import Certificates
from tests.host.hops.stage_process import END
from tests.stage_runner import running
from tests.waiting import until

WAIT_S = 60
STAGES = Path(__file__).with_name("stage_process.py")
BOOTS = [bytes([boot, 7, 7, 7, 7]) for boot in (0x11, 0x22, 0x33)]
READINGS = 300  # per boot
Numbers = dict[str, set[tuple[bytes, int]]]


class Shim:
    """Hears reports as the shim does, over a session that survives the broker."""

    def __init__(self, broker: Mosquitto) -> None:
        self.side = HopReports("motetrace/")
        self.counted: Numbers = defaultdict(set)
        self._lock = threading.Lock()
        self.client = Client(CallbackAPIVersion.VERSION2, "shim", protocol=MQTTv5)
        self.ready = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe(self.side.template.filter, 1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        self.client.connect(broker.host, broker.port, clean_start=False, properties=properties)

    def __enter__(self) -> Shim:
        self.client.loop_start()
        assert self.ready.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        name = self.side.template.match(message.topic)
        assert name is not None
        packet = PublishPacket(message.topic, message.mid, message.qos, message.dup, message.retain, message.payload)
        with self._lock:
            self.side.receive(name, packet, time.time_ns())
            for seen in self.side.runs():
                for start, end in seen.runs:
                    self.counted[seen.hop] |= {(seen.boot_nonce, seq) for seq in range(start, end + 1)}
            self.side.committed()

    def numbers(self) -> Numbers:
        with self._lock:
            return {hop: set(found) for hop, found in self.counted.items()}


def noted(log: Path) -> Numbers:
    """What a process says itself that it did, in the ledger's names."""
    found: Numbers = defaultdict(set)
    for line in log.read_text().splitlines():
        hop, outcome, number = line.split()
        if hop != "end":
            nonce, _, seq = number.partition("-")
            found[hop].add((bytes.fromhex(nonce), int(seq)))
            if outcome != "seen":
                found[f"{hop}.{outcome}"].add((bytes.fromhex(nonce), int(seq)))
    return found


def reading(nonce: bytes, seq: int) -> tuple[bytes, Properties]:
    properties = Properties(PacketTypes.PUBLISH)
    flags = 2 + seq % 2  # half of them are not sampled
    traceparent = f"00-{nonce.hex()}{seq:08x}0a0b0c0d0e0f10-aabbccdd{seq:08x}-{flags:02x}"
    properties.UserProperty = [("traceparent", traceparent)]
    return f"{nonce.hex()}-{seq}".encode(), properties


def publish_all(broker: Mosquitto, at_half: Callable[[], None]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, "devices", protocol=MQTTv5)
    client.reconnect_delay_set(1, 1)
    client.connect(broker.host, broker.port)
    client.loop_start()
    sent = []
    for seq in range(1, READINGS + 1):
        for boot, nonce in enumerate(BOOTS):
            payload, properties = reading(nonce, seq)
            sent.append(client.publish(f"devices/sensor-{boot}/telemetry", payload, 1, properties=properties))
        if seq == READINGS // 2:
            at_half()
    for info in sent:
        until(lambda info=info: info._published, "a reading was not acknowledged")  # rc stays "no connection"
    client.publish("devices/sensor-0/telemetry", END, 1)
    until(lambda: not client._out_messages, "the last reading was not acknowledged")
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("fault", ["none", "kill"])
def test_reports_say_exactly_what_two_processes_did_also_when_the_broker_is_killed(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, fault: str
) -> None:
    """The rule engine reports by its own client, the function by one of ours."""
    broker = start_mosquitto(persistent=True)
    logs = {role: tmp_path / role for role in ("rule", "function")}

    def at_half() -> None:
        until(lambda: logs["function"].exists() and logs["function"].stat().st_size > 0, "nothing was stored")
        if fault == "kill":
            broker.kill()
            broker.start()

    with (
        Shim(broker) as shim,
        running(STAGES, "rule", broker, logs["rule"]) as rule,
        running(STAGES, "function", broker, logs["function"]) as function,
    ):
        publish_all(broker, at_half)
        until(lambda: "end" in logs["function"].read_text(), "the last reading did not come through")
        for process in (rule, function):
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0, "its last report did not arrive"
        expected = noted(logs["rule"]) | noted(logs["function"])
        until(lambda: shim.numbers() == expected, "what was reported is not what was done")
    if fault == "none":
        everything = {(nonce, seq) for nonce in BOOTS for seq in range(1, READINGS + 1)}
        assert expected["rule"] == everything
        assert expected["function"] == everything - expected["rule.filtered"] - expected["rule.failed"]
        assert expected["db.failed"] == {(nonce, seq) for nonce, seq in expected["db"] if seq % 5 == 0}
    assert len(expected["rule"]) > READINGS and len(expected["db.failed"]) > 10


@pytest.fixture
def one_counted() -> Iterator[None]:
    yield
    reporting.begin(None)


def count_one() -> None:
    hops = reporting.current()
    assert hops is not None
    hops.count("db", "seen", MessageNumber(BOOTS[0], 5, True))


@pytest.mark.usefixtures("one_counted")
def test_what_nobody_subscribes_to_yet_is_kept_until_the_shim_has_come(mosquitto: Mosquitto) -> None:
    stages.configure(report=mosquitto.url, reporter="early", report_every_s=3600)
    count_one()
    assert not stages.flush_reports(1.0)
    with Shim(mosquitto) as shim:
        assert stages.flush_reports(WAIT_S)
        until(lambda: shim.numbers() == {"db": {(BOOTS[0], 5)}}, "it did not arrive")


@pytest.mark.usefixtures("one_counted")
def test_a_broker_that_is_not_there_yet_is_waited_for_without_hurting_anybody(
    start_mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = start_mosquitto()
    broker.stop()
    stages.configure(report=broker.url, reporter="early", report_every_s=0.1)
    count_one()
    assert not stages.flush_reports(0.3)
    broker.start()
    with Shim(broker) as shim:
        until(lambda: shim.numbers() == {"db": {(BOOTS[0], 5)}}, "it did not arrive")


def password_line(name: str, password: str) -> str:
    """A line of mosquitto's password file (PBKDF2-SHA512)."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{name}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@pytest.mark.usefixtures("one_counted")
def test_it_logs_in_by_name_and_password_and_a_refusal_loses_nothing(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """First the broker's access list forbids the topic, then it allows it."""
    (tmp_path / "passwords").write_text(password_line("stage", "s3cret") + password_line("shim", "x"))
    acl = tmp_path / "acl"
    acl.write_text("user shim\ntopic read motetrace/#\n")
    for path in (tmp_path / "passwords", acl):
        path.chmod(0o600)
    files = f"password_file {tmp_path}/passwords\nacl_file {acl}"
    broker = start_mosquitto(settings=f"allow_anonymous false\n{files}")
    (tmp_path / "mine").write_text("s3cret\n")
    stages.configure(
        report=broker.url, reporter="s", report_every_s=3600, username="stage", password_file=tmp_path / "mine"
    )
    count_one()
    assert not stages.flush_reports(1.0)
    acl.write_text("user shim\ntopic read motetrace/#\nuser stage\ntopic write motetrace/s/seen\n")
    broker.restart()
    received: queue.Queue[bytes] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, "shim", protocol=MQTTv5)
    client.username_pw_set("shim", "x")
    client.on_connect = lambda client, *_: client.subscribe("motetrace/+/seen", 1)
    client.on_message = lambda _, __, message: received.put(message.payload)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        assert stages.flush_reports(WAIT_S)
        assert b'"number":1,' in received.get(timeout=WAIT_S)
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.usefixtures("one_counted")
def test_it_speaks_tls_to_a_broker_that_it_knows_and_shows_who_it_is(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "certificates")
    broker = start_mosquitto(settings=certificates.mosquitto(client_certificate=True))
    received: queue.Queue[bytes] = queue.Queue()
    ready = threading.Event()
    shim = Client(CallbackAPIVersion.VERSION2, "shim", protocol=MQTTv5)
    shim.tls_set(str(certificates.ca), str(certificates.client), str(certificates.client_key))
    shim.on_connect = lambda client, *_: client.subscribe("motetrace/+/seen", 1)
    shim.on_subscribe = lambda *_: ready.set()
    shim.on_message = lambda _, __, message: received.put(message.payload)
    shim.connect(broker.host, broker.port)
    shim.loop_start()
    own: dict[str, Path] = {"client_cert": certificates.client, "client_key": certificates.client_key}
    try:
        assert ready.wait(WAIT_S)
        url = f"mqtts://{broker.host}:{broker.port}"
        for lacking in (own, {"ca_file": certificates.ca}):  # the system does not know this CA; the broker not us
            stages.configure(report=url, reporter="s", report_every_s=3600, **lacking)
            count_one()
            assert not stages.flush_reports(1.0)
        stages.configure(report=url, reporter="s", report_every_s=3600, ca_file=certificates.ca, **own)
        count_one()
        assert stages.flush_reports(WAIT_S)
        assert b'"number":1,' in received.get(timeout=WAIT_S)
    finally:
        shim.disconnect()
        shim.loop_stop()


@pytest.mark.parametrize("connected", [True, False])
def test_turned_off_it_leaves_no_thread_behind(mosquitto: Mosquitto, connected: bool) -> None:
    before = set(threading.enumerate())
    if not connected:
        mosquitto.stop()
    stages.configure(report=mosquitto.url, reporter="s", report_every_s=3600)
    count_one()
    assert not stages.flush_reports(0.5)
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    stages.configure()
    until(lambda: not any(thread.is_alive() for thread in started), "a thread stayed")
