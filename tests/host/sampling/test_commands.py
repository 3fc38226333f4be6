"""`motetrace sampling` against a real mosquitto, with the real device library on MicroPython at the other end."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import paho.mqtt.client as paho
import pytest
from click.testing import CliRunner, Result
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto, free_port

from motetrace_host.commands import shim_view
from motetrace_host.commands.sampling import sampling_commands
from motetrace_host.commands.shim_view import ShimView
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.sampling import request
from motetrace_host.core.sampling.head import HeadSampler, HeadSettings
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.threshold import NEVER
from motetrace_host.shim.sampling_topics import DesiredTopic
from tests.device import interpreters
from tests.device.session import Session
from tests.host.app.certificates import Certificates

LIMIT_S = 60.0
SETUP = """
from motetrace import Tracer
from motetrace.messages import birth
from motetrace.simple2 import JsonMember
from motetrace.sampling import Sampling
from umqtt.simple2 import MQTTClient
t = Tracer("traceparent", 58982)
sampling = Sampling(t)
mqtt = MQTTClient("d", {host!r}, {port}, message_timeout=20)
carrier = JsonMember(mqtt, t)
mqtt.set_callback(lambda topic, msg, retained, dup: sampling.desired(msg, retained))
def begin():
    mqtt.connect()
    mqtt.subscribe(b"motetrace/d/sampling/desired", 1)
    carrier.plain(b"motetrace/d/birth", birth(t, "1.0"), True, 1)
def serve():
    mqtt.check_msg()
    if sampling.poll():
        carrier.plain(b"motetrace/d/sampling/reported", sampling.reported(), True)
        sampling.new = False
    return t.threshold
"""
VIEW = ShimView(HeadSettings(NEVER), received=50, head_counts={Reason.OUTSIDE_RATE: 50}, otlp="http://jaeger:4318")


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def type_in(*words: str, view: ShimView | None = None) -> Result:
    with patch.object(shim_view, "load", return_value=view):
        return CliRunner().invoke(sampling_commands, list(words))


def begin(thread: ThreadPoolExecutor, broker: Mosquitto, *words: str) -> Future[Result]:
    return thread.submit(type_in, *words, "--broker", broker.url)


def serve_until(device: Session, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline, "it did not come about in time"
        device.ask("serve()")
        time.sleep(0.01)


@contextmanager
def client(
    broker: Mosquitto, topic: str, heard: Callable[[paho.Client, paho.MQTTMessage], None]
) -> Iterator[paho.Client]:
    """A plain client that hears a topic."""
    subscribed = threading.Event()
    mqtt = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    mqtt.on_message = lambda me, _data, message: heard(me, message)
    mqtt.on_subscribe = lambda *_: subscribed.set()
    mqtt.on_connect = lambda me, *_: me.subscribe(topic, 1)
    mqtt.connect(broker.host, broker.port)
    mqtt.loop_start()
    try:
        assert subscribed.wait(LIMIT_S)
        yield mqtt
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()


def kept(broker: Mosquitto, topic: str) -> bytes | None:
    """What the broker keeps on a topic."""
    found: list[bytes] = []
    with client(broker, topic, lambda _, message: found.append(message.payload)):
        time.sleep(0.3)
    return found[0] if found else None


@pytest.mark.parametrize("interpreter", interpreters.MICROPYTHONS)
def test_a_real_device_applies_what_is_asked_and_goes_back_when_it_is_cleared(
    interpreter: str, mosquitto: Mosquitto, thread: ThreadPoolExecutor
) -> None:
    with Session(interpreter) as device:
        device.run(SETUP.format(host=mosquitto.host, port=mosquitto.port))
        device.run("begin()")
        for rate, threshold, shown in (
            ("100%", 0, "100%"),
            ("0.25", 49152, "25%"),
            ("1/1000", 65470, "0.1"),
            ("0", 65536, "0%"),
        ):
            asked = begin(thread, mosquitto, "set", "d", "--rate", rate, "--for", "10m")
            serve_until(device, asked.done)
            result = asked.result()
            assert result.exit_code == 0, result.output
            assert "applied" in result.output and f"samples {shown}" in result.output
            assert "10m left" in result.output or "9m5" in result.output
            assert device.ask("serve()") == threshold
        asked = begin(thread, mosquitto, "clear", "d")
        serve_until(device, asked.done)
        assert asked.result().exit_code == 0, asked.result().output
        assert device.ask("serve()") == 58982
        assert kept(mosquitto, "motetrace/d/sampling/desired") is None


def test_what_a_sleeping_device_was_asked_waits_for_it_and_the_shim_keeps_to_it_at_once(mosquitto: Mosquitto) -> None:
    result = type_in("set", "d", "--broker", mosquitto.url, "--wait", "0.3", "--for", "2h")
    assert result.exit_code == 3
    assert "the request stays with the broker" in result.output
    assert "motetrace sampling clear d" in result.output
    assert "none: it never reported" in result.output
    wish = kept(mosquitto, "motetrace/d/sampling/desired")
    assert wish is not None
    assert abs(request.parse(wish).until_unix_s - time.time() - 7200) < 60
    head = HeadSampler(HeadSettings(NEVER))
    now = time.time_ns()
    DesiredTopic("motetrace/", head).receive("d", PublishPacket("", 0, 1, False, True, wish), now)
    decision = head.decide(head.plan("d"), bytes(16), 0, now)
    assert decision == Reason.TARGETED
    with Session("micropython64") as device:
        device.run(SETUP.format(host=mosquitto.host, port=mosquitto.port))
        device.run("begin()")
        serve_until(device, lambda: device.ask("serve()") == 0)
        assert device.ask("sampling.time.left_s") in range(7100, 7201)


def report(**said: Any) -> str:
    plain = {"v": 1, "nonce": "5f3a9c0d21", "mode": "on", "result": "applied", "threshold": 0, "left_s": 600}
    return json.dumps({**plain, **said})


def answering(*reports: dict[str, Any]) -> Callable[[paho.Client, paho.MQTTMessage], None]:
    def answer(me: paho.Client, _: paho.MQTTMessage) -> None:
        for said in reports:
            me.publish("motetrace/d/sampling/reported", report(**said), 1, retain=True)

    return answer


def test_a_refusal_is_told_with_its_reason(mosquitto: Mosquitto) -> None:
    refusal = {"result": "rate", "threshold": 58982, "left_s": 0, "mode": "inherit"}
    with client(mosquitto, "motetrace/d/sampling/desired", answering(refusal)):
        result = type_in("set", "d", "--broker", mosquitto.url)
    assert result.exit_code == 1
    assert "the device says rate: its rate is not in 0..1" in result.output
    assert "samples 10%" in result.output


def test_reports_about_something_else_do_not_end_the_wait(mosquitto: Mosquitto) -> None:
    with client(mosquitto, "motetrace/d/sampling/desired", answering({"threshold": 5}, {"nonce": "\x1b"}, {})):
        result = type_in("set", "d", "--broker", mosquitto.url)
    assert result.exit_code == 0
    assert "that is no answer to this request" in result.output
    assert "something broken, passed over" in result.output
    assert "\x1b" not in result.output


def test_an_old_report_is_no_answer(mosquitto: Mosquitto) -> None:
    with client(mosquitto, "x", lambda *_: None) as me:
        me.publish("motetrace/d/sampling/reported", report(), 1, retain=True).wait_for_publish(LIMIT_S)
    result = type_in("set", "d", "--broker", mosquitto.url, "--wait", "0.5")
    assert result.exit_code == 3
    assert "last report boot 5f3a9c0d21 samples 100%" in result.output


def test_why_names_the_stage_by_what_the_broker_keeps_and_the_shim_knows(mosquitto: Mosquitto) -> None:
    with client(mosquitto, "motetrace/d/sampling/desired", answering({})):
        assert type_in("set", "d", "--broker", mosquitto.url).exit_code == 0
    while_it_lasts = dataclasses.replace(VIEW, now_unix_ns=time.time_ns())
    result = type_in("why", "d", "--broker", mosquitto.url, view=while_it_lasts)
    assert result.exit_code == 0
    assert "  target    adds     for " in result.output
    afterwards = dataclasses.replace(VIEW, now_unix_ns=time.time_ns() + 601 * 10**9)
    result = type_in("why", "d", "--broker", mosquitto.url, view=afterwards)
    assert result.exit_code == 1
    assert "  request   passes   on, 100% for 10m; the device applied it\n" in result.output
    assert "> rate      BLOCKS   0%; 50 of 50 left out\n" in result.output
    assert "motetrace sampling set d --rate 100%" in result.output
    result = type_in("why", "d", "--broker", mosquitto.url)
    assert result.exit_code == 0
    assert "shim      unknown" in result.output


def test_a_broker_that_is_away_is_told_with_what_to_do(thread: ThreadPoolExecutor) -> None:
    for words in (["set", "d"], ["clear", "d"], ["why", "d"]):
        result = type_in(*words, "--broker", f"mqtt://127.0.0.1:{free_port()}")
        assert result.exit_code == 2
        assert "cannot be reached" in result.output and "--broker" in result.output


def test_a_broker_that_refuses_is_told_with_what_to_do(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    access = tmp_path / "access"
    access.write_text("topic read #\n")
    broker = start_mosquitto(settings=f"acl_file {access}")
    result = type_in("set", "d", "--broker", broker.url)
    assert result.exit_code == 2
    assert "the broker refuses motetrace/d/sampling/desired: Not authorized; check its access list" in result.output
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    closed = start_mosquitto(settings=f"password_file {passwords}\nallow_anonymous false")
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    result = type_in("set", "d", "--broker", closed.url, "--username", "ops", "--password-file", str(secret))
    assert result.exit_code == 2
    assert "check --username, --password-file" in result.output
    assert "hunter2" not in result.output


def test_a_broker_that_wants_a_certificate_is_shown_one(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path / "certificates")
    broker = start_mosquitto(settings=certificates.mosquitto(client_certificate=True))
    access = ["--broker", f"mqtts://localhost:{broker.port}", "--ca-file", str(certificates.ca)]
    own = ["--client-cert", str(certificates.client), "--client-key", str(certificates.client_key)]
    asked = type_in("set", "d", "--wait", "0.2", *access, *own)
    assert asked.exit_code == 3, asked.output
    assert "the request stays with the broker" in asked.output
    assert type_in("why", "d", *access, *own).exit_code in (0, 1)
    refused = type_in("why", "d", *access)
    assert refused.exit_code == 2
    assert "does it want to see a certificate (--client-cert)" in refused.output
    unknown = type_in("why", "d", *access[:2], *own)
    assert unknown.exit_code == 2
    assert "name its CA's certificate with --ca-file" in unknown.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "10"], "--rate: '10' is above 1"),
        (["--rate", "1/1000000000"], "lowest that devices read"),
        (["--for", "soon"], "--for: 'soon' is no length of time"),
        (["--for", "31d"], "at most 30d"),
        (["--broker", "http://x"], "--broker 'http://x': write mqtt://HOST"),
        (["--prefix", "motetrace"], "--prefix 'motetrace': it ends in '/'"),
        (["--password-file", "/nowhere/at/all"], "--password-file /nowhere/at/all:"),
        (
            ["--broker", "mqtts://127.0.0.1:1", "--ca-file", "/nowhere/at/all"],
            "CA file /nowhere/at/all: No such file",
        ),
        (["--broker", "mqtts://127.0.0.1:1", "--client-key", "k.pem"], "client key k.pem needs its client certificate"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(words: list[str], said: str) -> None:
    result = type_in("set", "d", *words)
    assert result.exit_code == 2
    assert said in result.output


def test_a_device_id_that_cannot_stand_in_a_topic_is_refused(mosquitto: Mosquitto) -> None:
    for name in ("a/b", "+", "#", ""):
        result = type_in("set", name, "--broker", mosquitto.url)
        assert (result.exit_code, "device_id" in result.output) == (2, True)
