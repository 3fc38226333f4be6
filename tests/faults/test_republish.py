"""Consumers of the republished topic get every reading, with a full traceparent and a clean payload."""

import random
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from services import Mosquitto

from motetrace_host.core.wire import binary_trailer
from tests.faults.fleet import Connection, Fleet, Message, topic
from tests.faults.shim_process import TOPIC, ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
TARGET = "traced/{device_id}/telemetry"


class Consumer:
    """Remembers what it got on the republished topic."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes, list[tuple[str, str]], str | None]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="consumer", protocol=paho.MQTTv5)
        self.client.on_message = self._on_message
        subscribed: list[int] = []
        self.client.on_subscribe = lambda *_: subscribed.append(1)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("traced/+/telemetry", qos=1)
        self.client.loop_start()
        until(lambda: subscribed, "the consumer subscribes")

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        found = message.properties
        self.messages.append(
            (
                message.topic.split("/")[1],
                message.payload,
                getattr(found, "UserProperty", []),
                getattr(found, "ContentType", None),
            )
        )

    @property
    def seen(self) -> set[Message]:
        """Device and seq, read from the traceparent."""
        return {(device, int(dict(pairs)["traceparent"][13:21], 16)) for device, _, pairs, _ in list(self.messages)}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_kill_minus_nine_between_commit_and_republish_loses_nothing_downstream(
    mosquitto: Mosquitto, make_shim: MakeShim, chance: random.Random
) -> None:
    consumer = Consumer(mosquitto.port)
    shim = make_shim(mosquitto.port, "--republish", TOPIC, TARGET).start()
    fleet = Fleet(mosquitto.port).start()
    for _ in range(4):
        time.sleep(chance.uniform(0.1, 0.6))
        shim.kill()
        shim.start()
    published = fleet.stop()
    until(lambda: consumer.seen >= published, "every reading arrives downstream")
    assert shim.terminate() == 0
    consumer.close()
    assert consumer.seen == published
    ids = {(device, dict(pairs)["traceparent"][3:35]) for device, _, pairs, _ in consumer.messages}
    assert len(ids) == len(published), "a reading was republished under two traces"


def test_readings_that_share_one_foreign_traceparent_are_all_counted_and_all_republished_across_kill_minus_nine(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    consumer = Consumer(mosquitto.port)
    shim = make_shim(mosquitto.port, "--republish", TOPIC, TARGET).start()
    device = Connection(mosquitto.port)
    foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    payloads = [b'{"temp":%d}' % number for number in range(400)]
    for number, payload in enumerate(payloads):
        device.publish(("up", number), topic("up"), payload, ("traceparent", foreign))
        if number in (100, 250):
            until(lambda enough=number // 2: shim.count("message") > enough, "some of them are stored")
            shim.kill()
            shim.start()
    until(lambda: not device.waiting, "the broker has them all")
    until(lambda: {payload for _, payload, _, _ in list(consumer.messages)} == set(payloads), "all arrive downstream")
    device.close()
    until(lambda: shim.count("message") >= len(payloads), "all are counted")
    assert shim.terminate() == 0
    consumer.close()
    assert shim.count("message") == len(payloads), "a reading that came again was counted twice"
    assert shim.query("SELECT count(DISTINCT span_id), count(*) FROM span WHERE name = 'device_publish'") == [
        (len(payloads), len(payloads))
    ]
    spans = {dict(pairs)["traceparent"][36:52]: payload for _, payload, pairs, _ in consumer.messages}
    assert len(spans) == len(payloads), "one span id stands for two readings, or a reading has two"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux lets one set another process's limits")
def test_a_flood_beyond_the_inbox_is_worked_off_and_none_is_lost(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim
) -> None:
    broker = start_mosquitto(settings="max_inflight_messages 0")
    consumer = Consumer(broker.port)
    shim = make_shim(broker.port, "--republish", TOPIC, TARGET).start()
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    fleet = Fleet(broker.port).start()
    until(lambda: shim.logged("storing_waits"), "the disk takes no more")
    published = fleet.stop()
    device = Connection(broker.port)
    for seq in range(1, 1_001):  # 100 MB; the receive maximum lets them all come, the inbox holds 64 MiB
        device.publish(("big", seq), topic("big"), bytes(100_000), ("seqref", f"0a010203ff-{seq:08x}-03"))
    until(lambda: not device.waiting, "the broker has them")
    device.close()
    published |= device.acknowledged
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: consumer.seen >= published, "every reading arrives downstream")
    assert shim.terminate() == 0
    consumer.close()
    assert shim.logged("stopped")[0]["held_back"] > 0, "the inbox never was full"
    assert any("--queue" in lost["reason"] for lost in shim.logged("disconnected"))
    rows = shim.query("SELECT device_id, seq FROM message")
    assert len(rows) == len(set(rows))
    assert set(rows) == published


def test_the_republished_message_carries_the_context_and_nothing_of_ours_in_its_payload(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    consumer = Consumer(mosquitto.port)
    shim = make_shim(mosquitto.port, "--republish", TOPIC, TARGET).start()
    device = Connection(mosquitto.port)
    text = b'{"seqref":"0a01020306-00000001-03","temp":21.50}'
    device.publish(("json", 1), "motetrace/json/birth", b'{"v":1,"nonce":"0a01020306","baggage":{"site":"hall 3"}}')
    until(lambda: shim.count("device_boot") == 1, "the birth is stored")
    device.publish(("json", 1), topic("json"), text, ("unit", "C"))
    until(lambda: consumer.messages, "it arrives")
    device.close()
    assert shim.terminate() == 0
    consumer.close()
    ((name, payload, pairs, _),) = consumer.messages
    trace_id, span_id = shim.query("SELECT hex(trace_id), hex(span_id) FROM message")[0]
    assert (name, payload) == ("json", b'{"temp":21.50}')
    assert pairs == [
        ("unit", "C"),
        ("traceparent", f"00-{trace_id.lower()}-{span_id.lower()}-03"),
        ("baggage", "site=hall%203"),
    ]


def test_a_binary_payload_is_republished_without_its_trailer(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    consumer = Consumer(mosquitto.port)
    shim = make_shim(mosquitto.port, "--trailer", "lora/{device_id}/up", "--republish", "lora/{device_id}/up", TARGET)
    shim.start()
    device = Connection(mosquitto.port)
    context = bytes.fromhex("0a010203060000000103")
    payload = b"\x01\x00\xff"
    device.publish(
        ("bin", 1), "lora/bin/up", payload + context + bytes([binary_trailer.check(context), 10]) + binary_trailer.MAGIC
    )
    until(lambda: consumer.messages, "it arrives")
    device.close()
    assert shim.terminate() == 0
    consumer.close()
    ((name, republished, pairs, _),) = consumer.messages
    (row,) = shim.query("SELECT hex(trace_id), hex(span_id), seq, origin, carrier FROM message")
    assert (name, republished) == ("bin", payload)
    assert pairs == [("traceparent", f"00-{row[0].lower()}-{row[1].lower()}-03")]
    assert row[2:] == (1, "seqref", "trailer")


def test_a_republish_that_would_come_back_in_is_refused_at_start(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port, "--republish", TOPIC, "devices/{device_id}/telemetry")
    shim.launch()
    assert shim.wait() == 2
    assert "would come back in" in shim.log_path.read_text()


def test_topics_that_overlap_are_refused_at_start_by_name(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    source = "e/{device_id}/t"
    shim = make_shim(
        mosquitto.port, "--republish", source, TARGET, "--trailer", "e/{device_id}/bin", topic="e/{device_id}/#"
    )
    shim.launch()
    assert shim.wait() == 2
    log = shim.log_path.read_text()
    assert f"--topic e/{{device_id}}/# and --republish {source} match the same topics" in log
    assert "--trailer e/{device_id}/bin match the same topics" in log
