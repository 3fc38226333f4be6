"""The bytes of the real clients on the wire, against hand-written packets and against docs/wire-format.md."""

from typing import Any

import pytest
from services import Mosquitto

from tests.device import publish_vectors
from tests.device.interpreters import MICROPYTHONS
from tests.device.relay import Relay
from tests.device.session import Session
from tests.device.subscriber import Subscriber

VECTORS = publish_vectors.load()
PACKETS: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in VECTORS["packets"]}
PUBLISHES = [vector for vector in PACKETS.values() if vector["packet"] == "PUBLISH"]
CONNECTS = {vector["client"]: vector for vector in PACKETS.values() if vector["packet"] == "CONNECT"}
WIRE_FORMAT = publish_vectors.ROOT / "docs" / "wire-format.md"

# The library as it is, but for the entropy of the boot and the clock of the age.
BOOT = """
from binascii import unhexlify
from clock import Clock
from motetrace import Tracer, _port
_port.seed = lambda extra: unhexlify(SEED)
clock = Clock()
t = Tracer(MODE, clock=clock)
"""
CLIENTS = {
    "mqtt5": """
from motetrace.mqtt5 import MQTTClient
c = MQTTClient(CLIENT_ID, HOST, PORT, tracer=t, expiry=EXPIRY_S)
""",
    "json": """
from umqtt.simple2 import MQTTClient
from motetrace.simple2 import JsonMember
c = JsonMember(MQTTClient(CLIENT_ID, HOST, PORT), t)
""",
}
PUBLISH = """
c.connect()
if AGE_MS is not None:
    t.mark()
    clock.now += AGE_MS
c.publish(TOPIC, PAYLOAD, qos=QOS)
c.disconnect()
"""


def capture(interpreter: str, vector: dict[str, Any], host: str, port: int) -> list[bytes]:
    """What the real client sends to publish a vector's message: packets from CONNECT to DISCONNECT."""
    names = {
        "SEED": VECTORS["seed"],
        "MODE": vector["mode"],
        "CLIENT_ID": VECTORS["client_id"],
        "TOPIC": VECTORS["topic"].encode(),
        "PAYLOAD": VECTORS["payload"].encode(),
        "QOS": vector["qos"],
        "AGE_MS": vector.get("age_ms"),
        "EXPIRY_S": vector.get("expiry_s", 0),
    }
    with Relay(host, port) as relay, Session(interpreter) as device:
        for name, value in {**names, "HOST": relay.host, "PORT": relay.port}.items():
            device.run(f"{name} = {value!r}")
        device.run(BOOT + CLIENTS[vector["client"]] + PUBLISH)
        return relay.sent()


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
@pytest.mark.parametrize("vector", PUBLISHES, ids=lambda vector: vector["name"])
def test_the_real_client_sends_these_bytes_and_the_broker_takes_them(
    mosquitto: Mosquitto, interpreter: str, vector: dict[str, Any]
) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber:
        connect, publish, disconnect = capture(interpreter, vector, mosquitto.host, mosquitto.port)
        (message,) = subscriber.take(1)
    assert connect.hex(" ") == publish_vectors.packet_of(CONNECTS[vector["client"]]).hex(" ")
    assert publish.hex(" ") == publish_vectors.packet_of(vector).hex(" ")
    assert disconnect == b"\xe0\x00"
    assert message.topic == VECTORS["topic"].encode()
    if vector["client"] == "json":
        payload = f'{{"{vector["mode"]}":"{vector["context"]}",{VECTORS["payload"][1:]}'
        assert (message.payload, message.user_properties) == (payload.encode(), [])
    else:
        assert message.payload == VECTORS["payload"].encode()
        assert message.user_properties[0] == (vector["mode"], vector["context"])
        assert message.expiry_s == vector.get("expiry_s")


@pytest.mark.parametrize("vector", PACKETS.values(), ids=PACKETS)
def test_a_vectors_remaining_length_is_the_length_of_what_remains(vector: dict[str, Any]) -> None:
    data = publish_vectors.packet_of(vector)
    length = bytes.fromhex(vector["fields"][1][0])
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(length)) == len(data) - 1 - len(length)


def test_the_document_shows_every_publish_byte_for_byte() -> None:
    shown = publish_vectors.documented(WIRE_FORMAT.read_text(encoding="utf-8"))
    assert shown.keys() >= {vector["name"] for vector in PUBLISHES}
    for name, data in shown.items():
        assert name in PACKETS, f"{name} is not in tests/vectors/publish.json"
        assert data.hex(" ") == publish_vectors.packet_of(PACKETS[name]).hex(" ")


def test_the_blocks_we_print_for_the_document_read_back_as_the_packets() -> None:
    text = "\n\n".join(publish_vectors.block(vector) for vector in PACKETS.values())
    assert publish_vectors.documented(text) == {n: publish_vectors.packet_of(v) for n, v in PACKETS.items()}
