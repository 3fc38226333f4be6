"""What the MQTT 5 client makes of a broker's answers, one by one; the JSON carrier leaves that to umqtt.simple2."""

from collections.abc import Iterator

import pytest

from tests.device.device_clients import client
from tests.device.fake_broker import CONNACK_MQTT5, CONNACK_MQTT311, FakeBroker
from tests.device.interpreters import MICROPYTHONS
from tests.device.session import Session


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as running:
        yield running


@pytest.fixture(params=MICROPYTHONS)
def device(request: pytest.FixtureRequest, broker: FakeBroker) -> Iterator[Session]:
    """Connected to the fake broker by MQTT 5."""
    with client(request.param, "mqtt5", broker.host, broker.port, connect=False, socket_timeout=1) as session:
        session.begin("c.connect()")
        broker.welcome()
        session.finish()
        yield session


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
def test_connect_says_mqtt_5_and_all_it_was_told(broker: FakeBroker, interpreter: str) -> None:
    options = "user='ü', password=b'p', keepalive=300, session_expiry=70000"
    with client(interpreter, "mqtt5", broker.host, broker.port, connect=False, options=options) as device:
        device.run("c.set_last_will('will/t', b'gone', retain=True, qos=1)")
        device.begin_ask("c.connect(False)")
        packet = broker.welcome(bytes.fromhex("20 03 01 00 00"))
        assert device.finish() == 1  # session present
    # Flags: user name, password, will retain, will QoS 1, will, no clean start. Keepalive 300; session expiry 70,000 s.
    wanted = b"\x00\x04MQTT\x05" + bytes((0b11101100,)) + b"\x01\x2c" + b"\x05\x11\x00\x01\x11\x70"
    wanted += b"\x00\x06device" + b"\x00" + b"\x00\x06will/t" + b"\x00\x04gone" + "\0\2ü".encode() + b"\x00\x01p"
    assert packet.body == wanted


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
@pytest.mark.parametrize("reason", [0x80, 0x84, 0x87, 0x9C, 0xFF])
def test_a_refused_connect_raises_with_the_brokers_reason_code(
    broker: FakeBroker, interpreter: str, reason: int
) -> None:
    with client(interpreter, "mqtt5", broker.host, broker.port, connect=False, socket_timeout=1) as device:
        device.begin_ask("failure(c.connect)")
        broker.welcome(bytes((0x20, 0x03, 0x00, reason, 0x00)))
        assert device.finish() == ["MQTTException", [20, reason]]


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
def test_a_broker_that_speaks_only_mqtt_3_is_named_by_its_code(broker: FakeBroker, interpreter: str) -> None:
    with client(interpreter, "mqtt5", broker.host, broker.port, connect=False, socket_timeout=1) as device:
        device.begin_ask("failure(c.connect)")
        broker.welcome(bytes.fromhex("20 02 00 01"))  # 3.1.1: unacceptable protocol level
        assert device.finish() == ["MQTTException", [20, 1]]


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
def test_connack_properties_of_every_length_are_passed_over(broker: FakeBroker, interpreter: str) -> None:
    with client(interpreter, "mqtt5", broker.host, broker.port, connect=False, socket_timeout=1) as device:
        for size in (0, 1, 100, 200, 20000):
            device.begin("c.connect()")
            reason = b"\x1f" + size.to_bytes(2, "big") + b"r" * size
            properties = varint(len(reason)) + reason
            broker.welcome(b"\x20" + varint(2 + len(properties)) + b"\x00\x00" + properties)
            device.finish()
            device.begin_ask("c.publish('a', b'x', qos=1)")
            pid = broker.read().body[3:5]
            broker.say(b"\x40\x02" + pid)
            assert device.finish() == int.from_bytes(pid, "big")
            device.run(f"until(lambda: [{int.from_bytes(pid, 'big')}, 1] in statuses)")


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("40 02 00 01", 1),
        ("40 03 00 01 00", 1),
        ("40 03 00 01 10", 1),  # 0x10: accepted, nobody subscribed
        ("40 04 00 01 00 00", 1),
        ("40 09 00 01 97 05 1f 00 02 6e 6f", 0x97),  # quota exceeded, with a reason string
        ("40 03 00 01 80", 0x80),
        ("40 03 00 01 87", 0x87),
    ],
)
def test_a_puback_becomes_the_status_of_its_message(
    broker: FakeBroker, device: Session, answer: str, status: int
) -> None:
    device.run("c.publish('a', b'x', qos=1)")
    broker.say(bytes.fromhex(answer))
    device.run("until(lambda: statuses)")
    assert device.ask("statuses") == [[1, status]]
    assert device.ask("len(c.rcv_pids)") == 0


def test_an_acknowledgement_nobody_waits_for_is_told_as_unknown(broker: FakeBroker, device: Session) -> None:
    broker.say(bytes.fromhex("40 02 12 34"))
    device.run("until(lambda: statuses)")
    assert device.ask("statuses") == [[0x1234, 2]]


def test_messages_that_stay_unanswered_are_told_as_timed_out_each_once(broker: FakeBroker, device: Session) -> None:
    device.run("c.message_timeout = 0\nfor _ in range(5): c.publish('a', b'x', qos=1)")
    device.run("until(lambda: len(statuses) == 5)\nc.check_msg()")
    assert sorted(device.ask("statuses")) == [[pid, 0] for pid in range(1, 6)]


@pytest.mark.parametrize(
    ("codes", "status"), [("00", 1), ("01", 1), ("80", 0x80), ("87", 0x87), ("8f", 0x8F), ("a2", 0xA2)]
)
def test_a_suback_becomes_the_status_of_its_subscription(
    broker: FakeBroker, device: Session, codes: str, status: int
) -> None:
    device.run("c.subscribe('ä/#', 1)")
    packet = broker.read()
    assert (packet.first, packet.body) == (0x82, b"\x00\x01\x00" + "\x00\x04ä/#\x01".encode())
    broker.say(bytes.fromhex(f"90 04 00 01 00 {codes}"))
    device.run("until(lambda: statuses)")
    assert device.ask("statuses") == [[1, status]]


@pytest.mark.parametrize(
    ("goodbye", "arguments"), [("e0 00", [1, 0]), ("e0 01 8b", [1, 0x8B]), ("e0 02 8e 00", [1, 0x8E])]
)
def test_a_disconnect_by_the_broker_raises_with_its_reason(
    broker: FakeBroker, device: Session, goodbye: str, arguments: list[int]
) -> None:
    broker.say(bytes.fromhex(goodbye))
    assert device.ask("failure(lambda: until(lambda: False))") == ["MQTTException", arguments]


def test_a_connection_that_is_gone_raises_as_in_umqtt_simple2(broker: FakeBroker, device: Session) -> None:
    broker.hang_up()
    assert device.ask("failure(lambda: until(lambda: False))") == ["MQTTException", [1]]


def test_an_incoming_message_at_qos_1_is_acknowledged_after_the_callback(broker: FakeBroker, device: Session) -> None:
    for pid in (1, 0x1234, 0xFFFF):
        broker.say(b"\x3b\x0a\x00\x03t/1" + pid.to_bytes(2, "big") + b"\x00ab")
        device.run("arrived.clear()\nuntil(lambda: arrived)")
        assert device.ask("arrived[0][:4]") == [b"t/1", b"ab", True, True]
        assert broker.take(4) == b"\x40\x02" + pid.to_bytes(2, "big")


def test_a_message_the_callback_fails_on_is_not_acknowledged(broker: FakeBroker, device: Session) -> None:
    device.run("def fail(*_): raise ValueError('mine')\nc.set_callback(fail)")
    broker.say(b"\x32\x08\x00\x01t\x00\x07\x00ab")
    assert device.ask("failure(lambda: until(lambda: False))")[0] == "ValueError"
    device.run("c.ping()")
    assert broker.take(2) == b"\xc0\x00"


def test_broken_properties_end_the_list_and_harm_nothing_else(broker: FakeBroker, device: Session) -> None:
    good = bytes.fromhex("26 0001 61 0001 62")
    for properties, wanted in (
        (good + bytes.fromhex("26 0005 61"), 1),
        (bytes.fromhex("26"), 0),
        (bytes.fromhex("26 00"), 0),
        (good + bytes.fromhex("0b ff ff ff"), 1),
        (good + bytes.fromhex("02 00"), 1),
        (good + bytes.fromhex("26 0001 61 ffff 62"), 1),
        (bytes.fromhex("01 01 02 0000003c 03 0001 78 08 0001 79 09 0001 7a 0b 8001 23 0001") + good, 1),
    ):
        body = b"\x00\x01t" + varint(len(properties)) + properties + b"payload"
        device.run("arrived.clear()")
        broker.say(b"\x30" + varint(len(body)) + body)
        device.run("until(lambda: arrived)")
        topic, payload, _, _, pairs, traceparent = device.ask("arrived[0]")
        assert (topic, payload, traceparent) == (b"t", b"payload", None)
        assert pairs == [[b"a", b"b"]] * wanted, properties.hex()


def test_a_slow_reader_gets_a_large_payload_in_many_pieces_byte_for_byte() -> None:
    for interpreter in MICROPYTHONS:
        for carrier, connack in (("mqtt5", CONNACK_MQTT5), ("json", CONNACK_MQTT311)):
            with (
                FakeBroker(receive_bytes=2048) as broker,
                client(interpreter, carrier, broker.host, broker.port, connect=False) as device,
            ):
                device.begin("c.connect()")
                broker.welcome(connack)
                device.finish()
                device.run("big = b'{' + bytes(range(32, 92)) * 100000 + b'}'")
                payload = b"{" + bytes(range(32, 92)) * 100000 + b"}"
                device.begin("c.publish('t', big, qos=1)")
                with pytest.raises(TimeoutError):  # the device is held up: nobody reads
                    device.finish(limit_s=0.3)
                packet = broker.read()
                device.finish()
                end = payload if carrier == "mqtt5" else payload[1:]
                assert packet.body.endswith(end)
                assert len(packet.body) - len(end) < 100


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
@pytest.mark.parametrize(("carrier", "connack"), [("mqtt5", CONNACK_MQTT5), ("json", CONNACK_MQTT311)])
def test_a_broker_that_reads_no_more_ends_a_publish_at_the_socket_timeout(
    interpreter: str, carrier: str, connack: bytes
) -> None:
    with (
        FakeBroker(receive_bytes=2048) as broker,
        client(interpreter, carrier, broker.host, broker.port, connect=False, socket_timeout=0.2) as device,
    ):
        device.begin("c.connect()")
        broker.welcome(connack)
        device.finish()
        device.run("big = b'{' + bytes(8000000) + b'}'")
        assert device.ask("failure(lambda: c.publish('t', big))") == ["MQTTException", [30]]
        # What is half written cannot be mended: after a reconnect the next message has the next seq.
        device.begin("c.connect()")
        broker.welcome(connack)
        device.finish()
        device.run("c.publish('t', b'{}')")
        assert b"00000002" in broker.read().body
