"""Whatever a broker answers, the MQTT 5 client raises what its users expect, and does not hang."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.device.device_clients import client
from tests.device.fake_broker import CONNACK_MQTT5, FakeBroker
from tests.device.interpreters import MICROPYTHONS
from tests.device.session import Session

SOCKET_TIMEOUT_S = 0.05
EXPECTED = {None, "MQTTException", "OSError", "MemoryError", "ValueError"}

ATTEMPT = """
def serve():
    c.connect()
    c.subscribe("t", 1)
    c.publish("t", b"x", qos=1)
    for _ in range(200):
        c.check_msg()
def attempt():
    del statuses[:], arrived[:]
    outcome = failure(serve)
    c.disconnect()
    return outcome
"""
Place = tuple[FakeBroker, Session]


@pytest.fixture(scope="module", params=MICROPYTHONS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with (
        FakeBroker() as broker,
        client(
            request.param, "mqtt5", broker.host, broker.port, connect=False, socket_timeout=SOCKET_TIMEOUT_S
        ) as device,
    ):
        device.run(ATTEMPT)
        yield broker, device


def provoke(place: Place, answers: bytes, *, hang_up: bool) -> None:
    broker, device = place
    device.begin_ask("attempt()")
    broker.accept()
    try:
        broker.say(answers)
    except OSError:
        pass  # the device has had enough and is gone
    if hang_up:
        broker.hang_up()
    outcome = device.finish()
    assert (outcome and outcome[0]) in EXPECTED, outcome
    broker.hang_up()


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


PAIR = bytes.fromhex("26 000b 7472616365706172656e74 0001 78")
PACKETS = [
    packet(0x40, bytes.fromhex("0001")),
    packet(0x40, bytes.fromhex("0002 97 05 1f 0002 6e6f")),
    packet(0x90, bytes.fromhex("0001 00 01")),
    packet(0x90, bytes.fromhex("0001 00 87")),
    packet(0x30, b"\x00\x01t\x00payload"),
    packet(0x32, b"\x00\x01t\x00\x07" + varint(len(PAIR)) + PAIR + b"payload"),
    packet(0xE0, b"\x8b"),
    packet(0xE0, b""),
    packet(0xD0, b""),
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A CONNACK, mostly a good one, then packets, whole, cut or bent, then noise."""
    connack = draw(st.sampled_from((CONNACK_MQTT5, CONNACK_MQTT5, CONNACK_MQTT5, b"\x20")))
    parts = draw(
        st.lists(
            st.one_of(
                st.sampled_from(PACKETS),
                st.builds(packet, st.integers(0, 255), st.binary(max_size=12)),
                st.builds(lambda first, length: bytes((first, length)), st.integers(0, 255), st.integers(0, 20)),
            ),
            max_size=4,
        )
    )
    text = bytearray(connack + b"".join(parts))
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text) + draw(st.binary(max_size=20))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.one_of(answers(), answers(), st.binary(max_size=60)))
@example(answers=b"")
@example(answers=b"\x20\x00")
@example(answers=b"\x20\x01\x00")
@example(answers=b"\x20\xff\xff\xff\xff\xff\xff")
@example(answers=b"\x20\xff\xff\xff\x7f")
@example(answers=CONNACK_MQTT5 + b"\x40\x00")
@example(answers=CONNACK_MQTT5 + b"\x40\x01\x00")
@example(answers=CONNACK_MQTT5 + b"\x90\x00")
@example(answers=CONNACK_MQTT5 + b"\x90\x02\x00\x01")
@example(answers=CONNACK_MQTT5 + b"\x30\x00")
@example(answers=CONNACK_MQTT5 + b"\x30\x02\xff\xff")
@example(answers=CONNACK_MQTT5 + b"\x32\x05\x00\x01t\x00\x07\xff")
def test_a_broker_that_talks_nonsense_and_hangs_up_raises_the_clients_own_exceptions(
    place: Place, answers: bytes
) -> None:
    provoke(place, answers, hang_up=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=answers())
@example(answers=b"")
@example(answers=b"\x20")
@example(answers=CONNACK_MQTT5 + b"\x30\x7f")
def test_a_broker_that_talks_nonsense_and_then_says_nothing_is_left_at_the_socket_timeout(
    place: Place, answers: bytes
) -> None:
    provoke(place, answers, hang_up=False)


def test_a_length_that_never_ends_is_refused_while_the_broker_goes_on_sending(place: Place) -> None:
    for endless in (b"\xff", b"\x80"):
        for start in (b"\x20", CONNACK_MQTT5 + b"\x30", CONNACK_MQTT5 + b"\x30\x7f\x00\x01t"):
            provoke(place, start + endless * 100_000, hang_up=False)


def test_after_all_that_the_same_client_connects_and_publishes(place: Place) -> None:
    broker, device = place
    provoke(place, b"\x00" * 100, hang_up=True)
    device.begin("c.connect()")
    broker.welcome()
    device.finish()
    device.run("c.publish('t', b'fine')")
    assert broker.read().body.endswith(b"fine")
    device.run("c.disconnect()")
    broker.hang_up()
