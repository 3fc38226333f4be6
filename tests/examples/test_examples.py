"""Every example runs unchanged, and what it shows arrives at a subscriber, through a real broker."""

import ast
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import parts
import pytest
from services import Mosquitto

from motetrace_host.board import modules
from motetrace_host.board.edges import device_library
from motetrace_host.core.wire import context
from motetrace_host.core.wire.context import Context
from tests.device.subscriber import Arrived, Subscriber
from tests.examples.node import DEVICE, EXAMPLES, CircuitPythonNode, Node

DOUBLES = parts.ROOT / "tests" / "clients" / "doubles"
TELEMETRY = f"devices/{DEVICE}/telemetry".encode()
BIRTH = f"motetrace/{DEVICE}/birth".encode()
LIMIT_S = 60.0


@pytest.fixture(params=(64, 32))
def start(request: pytest.FixtureRequest, tmp_path: Path, mosquitto: Mosquitto) -> Callable[..., Node]:
    """Starts an example on the broker of this test, under both MicroPythons."""

    def run(example: str, *libraries: Path, interval_s: float = 0.05) -> Node:
        folder = tmp_path / "node"
        return Node(request.param, example, folder, mosquitto.host, mosquitto.port, list(libraries), interval_s)

    return run


def seen(message: Arrived) -> Context:
    """What the host finds in a message."""
    return context.read(message.user_properties, message.payload)


def contexts(messages: list[Arrived], carrier: str, origin: str = "traceparent") -> list[Context]:
    """The contexts of readings 1, 2, 3 and so on of one boot, each with an age."""
    found = [seen(message) for message in messages]
    assert all(message.topic == TELEMETRY for message in messages)
    assert {(each.origin, each.carrier, each.faults) for each in found} == {(origin, carrier, ())}
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    assert len({each.boot_nonce for each in found}) == 1
    assert all(each.age_ms is not None for each in found)
    return found


def born(message: Arrived) -> dict[str, object]:
    assert message.topic == BIRTH
    said: dict[str, object] = json.loads(message.payload)
    return said


def test_sensor_json(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber, start("sensor_json.py"):
        birth, *readings = subscriber.take(4)
        first = contexts(readings, "json")[0]
        assert born(birth)["nonce"] == first.boot_nonce.hex() and born(birth)["fw"] == "1.4.2"  # type: ignore[union-attr]
        assert [json.loads(message.payload)["light"] for message in readings] == [4201, 4202, 4203]


def test_sensor_mqtt5(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber, start("sensor_mqtt5.py"):
        birth, *readings = subscriber.take(4)
        contexts(readings, "user_property")
        assert [message.payload for message in readings] == [b'{"light":%d}' % n for n in (4201, 4202, 4203)]
        assert {message.expiry_s for message in readings} == {3600}
        assert born(birth)["baggage"] == {"deployment_site": "cold room 2"}


def test_sensor_mqtt5_goes_on_after_the_broker_was_away(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with start("sensor_mqtt5.py"):
        with Subscriber(mosquitto.host, mosquitto.port, TELEMETRY.decode()) as subscriber:
            before = [seen(message) for message in subscriber.take(2)]
        mosquitto.restart()
        with Subscriber(mosquitto.host, mosquitto.port, TELEMETRY.decode()) as subscriber:
            after = [seen(message) for message in subscriber.take(3)]
        assert {each.boot_nonce for each in before} == {each.boot_nonce for each in after}
        seqs = [each.seq for each in after]
        assert seqs[0] is not None and before[-1].seq is not None and seqs[0] > before[-1].seq
        assert seqs == list(range(seqs[0], seqs[0] + 3))


def test_battery_seqref(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber:
        for _ in range(4):  # power on, and three times woken
            with start("battery_seqref.py", interval_s=0.3) as node:
                assert node.process.wait(LIMIT_S) == 0
        messages = subscriber.take(6)
        readings = [message for message in messages if message.topic == TELEMETRY]
        births = [born(message) for message in messages if message.topic == BIRTH]
        found = [seen(message) for message in readings]
        assert {(each.origin, each.carrier, each.seq) for each in found} == {("seqref", "user_property", 1)}
        assert len({each.boot_nonce for each in found}) == 3
        assert all(each.age_ms is not None and 300 <= each.age_ms < 5000 for each in found), found
        assert [message.payload for message in readings] == [b'{"moisture":4201}'] * 3
        assert [birth["boot"] for birth in births] == [2, 3, 4]
        assert {birth["reset"] for birth in births} == {"deep_sleep"}


def test_sensor_asyncio(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber, start("sensor_asyncio.py", DOUBLES):
        birth, *readings = subscriber.take(4)
        found = [seen(message) for message in readings]
        assert {(each.origin, each.carrier) for each in found} == {("traceparent", "user_property")}
        assert [each.seq for each in found] == [1, 2, 3]
        assert born(birth)["mode"] == "traceparent"


def test_actuator(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    command = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber, start("actuator.py") as node:
        assert born(subscriber.take(1)[0])["mode"] == "traceparent"
        answers = []
        for number, word in enumerate((b"on", b"off")):
            answers.append(_ask(subscriber, word, [("traceparent", command)]))
            assert json.loads(answers[-1].payload) == {"relay": 1 - number}
        for number, answer in enumerate(answers):
            ((name, value),) = answer.user_properties
            assert name == "traceparent" and value[:36] == command[:36] and value[52:] == "-01"
            assert int(value[44:52], 16) > number and value[36:52] != command[36:52]
        ((_, value),) = _ask(subscriber, b"on", []).user_properties
        assert value[3:35] != command[3:35]
        assert node.said.split()[-1] == "1"


def _ask(subscriber: Subscriber, word: bytes, pairs: list[tuple[str, str]]) -> Arrived:
    """Command until there is an answer: the node may not have subscribed yet."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        subscriber.publish(f"devices/{DEVICE}/command", word, pairs)
        for _ in range(2):
            message = subscriber.take(1)[0]
            if message.topic.endswith(b"/answer"):
                return message
    raise AssertionError("no answer")


def test_lora_binary(start: Callable[..., Node], mosquitto: Mosquitto) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as subscriber, start("lora_binary.py") as node:
        packets = _modem(node, 3)
        for packet in packets:  # what a network server does with them
            subscriber.publish(f"lora/{DEVICE}/up", packet, [])
        for number, message in enumerate(subscriber.take(3), 1):
            found = context.read([], message.payload, may_have_trailer=True)
            assert (found.origin, found.carrier, found.seq, found.faults) == ("seqref", "trailer", number, ())
            assert len(message.payload) == 20
            assert message.payload[:2] == (4201 + 3 * (number - 1)).to_bytes(2, "big")


def _modem(node: Node, count: int) -> list[bytes]:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        found = re.findall(r'^AT\+MSGHEX="([0-9a-f]+)"$', node.said, re.MULTILINE)
        if len(found) >= count:
            return [bytes.fromhex(text) for text in found[:count]]
        time.sleep(0.02)
    raise AssertionError(f"the modem got {node.said!r}")


def test_motetrace_simpletest(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with (
        Subscriber(mosquitto.host, mosquitto.port) as subscriber,
        CircuitPythonNode(tmp_path, mosquitto.host, mosquitto.port),
    ):
        birth, *readings = subscriber.take(3)
        first = contexts(readings, "json")[0]
        assert born(birth)["nonce"] == first.boot_nonce.hex()  # type: ignore[union-attr]
        assert [json.loads(message.payload)["temp"] for message in readings] == [21.5, 21.5]


SHOWN = sorted(path.name for path in EXAMPLES.glob("*.py") if path.stem not in ("settings", "wifi"))


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_is_short_and_begins_with_what_it_shows_and_wants(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    said = ast.get_docstring(ast.parse(text)) or ""
    assert said.startswith("Shows: ") and "\nWants: " in said and "motetrace device install " in said
    assert len(text.splitlines()) <= 60
    assert len([line for line in text.splitlines() if line.strip()]) <= 45


@pytest.mark.parametrize("name", SHOWN)
def test_what_an_example_wants_installed_is_what_it_imports(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    wanted = re.findall(r"--with ([\w,]+)", text)
    assert len(wanted) == 1
    brought = set(modules.closure(device_library.sources(), wanted[0].split(",")))
    assert modules.imported(text) & device_library.sources().keys() <= brought
    for extra in wanted[0].split(","):
        others = [other for other in wanted[0].split(",") if other != extra]
        assert modules.ALIASES.get(extra, extra) not in modules.closure(device_library.sources(), others)


def test_every_example_is_run_here_and_listed_in_the_readme() -> None:
    here = Path(__file__).read_text()
    readme = (EXAMPLES / "README.md").read_text()
    for name in SHOWN:
        assert f"def test_{name.removesuffix('.py')}(" in here, name
        assert f"[`{name}`]({name})" in readme, name
