"""Both device clients, on both MicroPython builds, through a real mosquitto to a paho MQTT 5 subscriber and back."""

import re
from collections.abc import Callable

import pytest
from services import Mosquitto

from tests.device.device_clients import client
from tests.device.interpreters import MICROPYTHONS
from tests.device.session import DeviceError
from tests.device.subscriber import Arrived, Subscriber

CARRIERS = ("mqtt5", "json")
MODES = ("traceparent", "seqref")
COMMAND = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PAYLOAD = b'{ "temp" : 21.50,\n"ort":"K\xc3\xbchlhaus" }'

every_interpreter = pytest.mark.parametrize("interpreter", MICROPYTHONS)
every_carrier = pytest.mark.parametrize("carrier", CARRIERS)
every_mode = pytest.mark.parametrize("mode", MODES)


def context_of(carrier: str, mode: str, message: Arrived, payload: bytes) -> bytes:
    """The context a message arrived with, after checking that nothing else of it was touched."""
    if carrier == "mqtt5":
        assert message.payload == payload
        ((name, value),) = message.user_properties
        assert name == mode
        return value.encode()
    assert message.user_properties == []
    match = re.match(rb'\{"%s":"([0-9a-f-]+)",' % mode.encode(), message.payload)
    assert match, message.payload
    assert b"{" + message.payload[match.end() :] == payload
    return match[1]


@every_interpreter
@every_carrier
@every_mode
def test_every_message_arrives_with_its_context_and_its_payload_byte_for_byte(
    mosquitto: Mosquitto, interpreter: str, carrier: str, mode: str
) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, carrier, mosquitto.host, mosquitto.port, mode=mode) as device,
    ):
        device.run(f"payload = {PAYLOAD!r}")
        for seq in range(1, 9):
            qos, kind = seq % 2, ("bytes", "bytearray", "memoryview")[seq % 3]
            pid = device.ask(f"c.publish(b'devices/d/telemetry', {kind}(payload), False, {qos})")
            sent = device.ask("t._short")
            (message,) = subscriber.take(1)
            assert message.topic == b"devices/d/telemetry"
            assert (message.qos, message.retain) == (qos, False)
            assert context_of(carrier, mode, message, PAYLOAD) == sent
            assert b"%08x" % seq in sent
            if qos:
                device.run(f"until(lambda: [{pid}, 1] in statuses)")
        assert [status for _, status in device.ask("statuses")] == [1] * 4
        assert device.ask("len(c.rcv_pids)") == 0


@every_interpreter
@every_mode
def test_an_age_arrives_with_the_message(mosquitto: Mosquitto, interpreter: str, mode: str) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, "mqtt5", mosquitto.host, mosquitto.port, mode=mode) as device,
    ):
        device.run("c.publish(b'a', b'1')\nt.mark(); c.publish(b'a', b'2')\nc.publish(b'a', b'3')")
        before, aged, after = subscriber.take(3)
        assert [len(message.user_properties) for message in (before, after)] == [1, 1]
        if mode == "seqref":
            assert re.fullmatch("[0-9a-f]{10}-00000002-03-[0-9a-f]{7}", aged.user_properties[0][1])
        else:
            assert [name for name, _ in aged.user_properties] == ["traceparent", "tracestate"]
            assert re.fullmatch("mt=a:[0-9a-f]{7}", aged.user_properties[1][1])


@every_interpreter
@every_carrier
def test_a_retained_message_keeps_its_context_for_a_later_subscriber(
    mosquitto: Mosquitto, interpreter: str, carrier: str
) -> None:
    with client(interpreter, carrier, mosquitto.host, mosquitto.port) as device:
        pid = device.ask("c.publish('kept', b'{}', True, 1)")
        device.run(f"until(lambda: [{pid}, 1] in statuses)")
        sent = device.ask("t._short")
    with Subscriber(mosquitto.host, mosquitto.port) as later:
        (message,) = later.take(1)
    assert message.retain
    found = message.user_properties[0][1].encode() if carrier == "mqtt5" else message.payload[16:71]
    assert found == sent


@every_interpreter
@every_carrier
def test_dup_sends_the_same_context_again(mosquitto: Mosquitto, interpreter: str, carrier: str) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, carrier, mosquitto.host, mosquitto.port) as device,
    ):
        device.run(f"for dup in (False, True, True, False): c.publish('a', {PAYLOAD!r}, qos=1, dup=dup)")
        contexts = [context_of(carrier, "traceparent", message, PAYLOAD) for message in subscriber.take(4)]
        assert contexts[0] == contexts[1] == contexts[2] != contexts[3]
        assert device.ask("t.seq()") == 2
        device.run("until(lambda: len(statuses) == 4)")


@every_interpreter
@every_carrier
def test_text_beyond_ascii_arrives_as_utf_8(mosquitto: Mosquitto, interpreter: str, carrier: str) -> None:
    topic, text = "geräte/温度/🌡", '{"ort":"Kühlhaus 🧊"}'
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, carrier, mosquitto.host, mosquitto.port) as device,
    ):
        device.run(f"c.publish({topic!r}, {text!r}, qos=1)")
        (message,) = subscriber.take(1)
        assert message.topic == topic.encode()
        context_of(carrier, "traceparent", message, text.encode())


@every_interpreter
@every_carrier
def test_a_payload_of_100_kb_arrives_whole(mosquitto: Mosquitto, interpreter: str, carrier: str) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, carrier, mosquitto.host, mosquitto.port) as device,
    ):
        device.run("big = b'{\"text\":\"' + bytes(32 + i % 90 for i in range(100000)).replace(b'\\\\', b'/') + b'\"}'")
        device.run("for _ in range(3): c.publish('big', big, qos=1)")
        payload = device.ask("big")
        for message in subscriber.take(3):
            context_of(carrier, "traceparent", message, payload)
        device.run("until(lambda: len(statuses) == 3)")


@every_interpreter
def test_a_payload_that_is_no_object_arrives_as_it_was(mosquitto: Mosquitto, interpreter: str) -> None:
    payloads = [b"", b"21.5", b"\x00\xff\xfe", b"[1,2]", bytes(range(256))]
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, "json", mosquitto.host, mosquitto.port) as device,
    ):
        device.run(f"for payload in {payloads!r}: c.publish('a', payload, qos=1)")
        assert [message.payload for message in subscriber.take(len(payloads))] == payloads
        assert device.ask("c.left_alone, t.seq()") == [len(payloads), 0]


@every_interpreter
def test_message_expiry_arrives_with_every_message(mosquitto: Mosquitto, interpreter: str) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        client(interpreter, "mqtt5", mosquitto.host, mosquitto.port, options="expiry=4000000000") as device,
    ):
        device.run("for _ in range(3): c.publish('a', b'{}', qos=1)")
        for message in subscriber.take(3):
            assert message.expiry_s is not None
            assert 3_999_999_900 < message.expiry_s <= 4_000_000_000
            context_of("mqtt5", "traceparent", message, b"{}")


@every_interpreter
def test_a_command_arrives_with_its_properties_and_the_answer_continues_its_trace(
    mosquitto: Mosquitto, interpreter: str
) -> None:
    pairs = [("first", "1"), ("traceparent", COMMAND), ("first", "again"), ("ключ", "значение")]
    with (
        Subscriber(mosquitto.host, mosquitto.port, "answers/#") as subscriber,
        client(interpreter, "mqtt5", mosquitto.host, mosquitto.port) as device,
    ):
        device.run("pid = c.subscribe('commands/#', 1)\nuntil(lambda: [pid, 1] in statuses)")
        subscriber.publish(
            "commands/d",
            b"open",
            pairs,
            MessageExpiryInterval=60,
            ResponseTopic="answers/d",
            CorrelationData=b"\x00\xff",
            ContentType="text/plain",
            PayloadFormatIndicator=1,
        )
        device.run("until(lambda: arrived)")
        ((topic, payload, retained, dup, properties, traceparent),) = device.ask("arrived")
        assert (topic, payload, retained, dup) == (b"commands/d", b"open", False, False)
        assert [(name.decode(), value.decode()) for name, value in properties] == pairs
        assert traceparent == COMMAND.encode()
        device.run("from motetrace.incoming import Incoming\nincoming = Incoming(t)")
        assert device.ask("incoming.read(c.traceparent)") is True
        nonce = device.ask("t.block[:5]").hex()
        device.run("from motetrace.mqtt5 import UserProperty\nanswers = UserProperty(c, incoming)")
        device.run("answers.publish('answers/d', b'opened', qos=1)")
        (answer,) = subscriber.take(1)
        assert answer.payload == b"opened"
        assert answer.user_properties == [("traceparent", f"00-{COMMAND[3:35]}-{nonce[2:]}00000001-01")]
        device.run("c.publish('answers/d', b'a reading', qos=1)")
        (reading,) = subscriber.take(1)
        assert dict(reading.user_properties)["traceparent"][3:21] == f"{nonce}00000002"


@every_interpreter
def test_an_answer_in_json_continues_the_commands_trace(mosquitto: Mosquitto, interpreter: str) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port, "answers/#") as subscriber,
        client(interpreter, "json", mosquitto.host, mosquitto.port) as device,
    ):
        device.run("from motetrace.incoming import Incoming\nincoming = Incoming(t)")
        device.run("answers = JsonMember(c.client, incoming)")
        assert device.ask(f"incoming.read({COMMAND.encode()!r})") is True
        device.run("""answers.publish('answers/d', b'{"ok":true}', qos=1)""")
        (answer,) = subscriber.take(1)
        nonce = device.ask("t.block[:5]").hex()
        assert answer.payload.decode() == f'{{"traceparent":"00-{COMMAND[3:35]}-{nonce[2:]}00000001-01","ok":true}}'


@every_interpreter
def test_messages_with_none_two_or_broken_traceparents_have_none_to_continue(
    mosquitto: Mosquitto, interpreter: str
) -> None:
    twice = [("traceparent", COMMAND), ("traceparent", COMMAND)]
    with (
        Subscriber(mosquitto.host, mosquitto.port, "nothing") as host,
        client(interpreter, "mqtt5", mosquitto.host, mosquitto.port) as device,
    ):
        device.run("from motetrace.incoming import Incoming\nincoming = Incoming(t)")
        device.run("pid = c.subscribe('commands/#', 1)\nuntil(lambda: [pid, 1] in statuses)")
        for pairs in ([], twice, [("Traceparent", COMMAND)], [("traceparent", COMMAND[:-1])], [("traceparent", "")]):
            device.run("del arrived[:]")
            host.publish("commands/d", b"x" * 200, pairs)
            device.run("until(lambda: arrived)")
            assert device.ask("incoming.read(arrived[0][5] or b'')") is False
            assert len(device.ask("arrived[0][1]")) == 200


@every_interpreter
@every_carrier
def test_a_broker_that_refuses_says_so_at_connect(
    start_mosquitto: Callable[..., Mosquitto], interpreter: str, carrier: str
) -> None:
    broker = start_mosquitto(settings="allow_anonymous false")
    with client(interpreter, carrier, broker.host, broker.port, connect=False) as device:
        name, arguments = device.ask("failure(c.connect)")
    assert name == "MQTTException"
    assert arguments == ([20, 0x87] if carrier == "mqtt5" else [25])  # MQTT 5's reason code; 20 + 3.1.1's return code


@every_interpreter
def test_a_session_is_kept_over_a_reconnect_when_asked_for(mosquitto: Mosquitto, interpreter: str) -> None:
    options = "session_expiry=3600"
    with (
        Subscriber(mosquitto.host, mosquitto.port, "nothing") as host,
        client(interpreter, "mqtt5", mosquitto.host, mosquitto.port, options=options, connect=False) as device,
    ):
        assert device.ask("c.connect(False)") == 0
        device.run("pid = c.subscribe('commands/#', 1)\nuntil(lambda: [pid, 1] in statuses)\nc.disconnect()")
        host.publish("commands/d", b"while away", [("traceparent", COMMAND)])
        assert device.ask("c.connect(False)") == 1
        device.run("until(lambda: arrived)")
        assert device.ask("arrived[0][1], arrived[0][5]") == [b"while away", COMMAND.encode()]


@every_interpreter
@every_carrier
def test_after_the_broker_died_in_the_middle_publishing_goes_on_with_the_next_seq(
    mosquitto: Mosquitto, interpreter: str, carrier: str
) -> None:
    with client(interpreter, carrier, mosquitto.host, mosquitto.port) as device:
        device.run("c.publish('a', b'{}', qos=1)\nuntil(lambda: len(statuses) == 1)")
        mosquitto.kill()
        device.run(
            """
def publish_until_it_fails():
    for _ in range(1000):
        c.publish('a', b'{"t":1}', qos=1)
        c.check_msg()
"""
        )
        name, _ = device.ask("failure(publish_until_it_fails)")
        assert name in ("MQTTException", "OSError")
        before = device.ask("t.seq()")
        with pytest.raises(DeviceError) as refused:
            device.run("c.connect()")
        assert refused.value.name in ("MQTTException", "OSError")
        mosquitto.start()
        with Subscriber(mosquitto.host, mosquitto.port) as subscriber:
            device.run("c.connect()")
            device.run("c.publish('a', b'{}', qos=1)")
            (message,) = subscriber.take(1)
        text = message.payload if carrier == "json" else message.user_properties[0][1].encode()
        assert b"%08x" % (before + 1) in text
        assert device.ask("t.seq()") == before + 1


@every_interpreter
def test_the_brokers_keep_alive_counts(start_mosquitto: Callable[..., Mosquitto], interpreter: str) -> None:
    broker = start_mosquitto(settings="max_keepalive 10\n")
    with client(interpreter, "mqtt5", broker.host, broker.port, options="keepalive=60") as device:
        assert device.ask("c.keepalive") == 10
