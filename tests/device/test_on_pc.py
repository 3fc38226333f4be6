"""The device library on a PC: each module imports beside motetrace.testing, and an editor knows its names."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import parts
import pytest

PACKAGE = parts.ROOT / "device_lib" / "motetrace"
MODULES = sorted(f"motetrace.{path.stem}" for path in PACKAGE.glob("*.py") if path.stem != "__init__")
PUBLIC = [name for name in MODULES if not name.startswith("motetrace._")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "MYPYPATH": str(PACKAGE.parent)}


def python(code: str, *options: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, *options, "-c", code]
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_under_cpython_beside_the_stand_ins(name: str) -> None:
    code = f"from motetrace import testing\ntesting.install()\nimport {name}\nprint({name}.__name__)"
    done = python(code, "-S")  # without site-packages: no client that is installed there
    assert done.stdout == f"{name}\n", done.stderr


def test_the_core_and_what_needs_no_client_imports_without_them() -> None:
    names = ", ".join(f"motetrace.{name}" for name in ("tracer", "payload", "incoming", "messages", "sampling", "boot"))
    done = python(f"import motetrace, {names}\nprint(len(motetrace.Tracer().next()))", "-S")
    assert done.stdout == "55\n", done.stderr


def test_the_stubs_have_the_names_arguments_and_defaults_of_the_sources(tmp_path: Path) -> None:
    code = f"""
import sys
from motetrace import testing
testing.install()
from mypy import stubtest
sys.exit(stubtest.test_stubs(stubtest.parse_options({PUBLIC!r})))
"""
    done = python(code, folder=tmp_path)  # away from this repository's settings for mypy
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.stem for path in PACKAGE.glob("*.pyi")} == {path.stem for path in PACKAGE.glob("*.py")}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_attribute_that_a_stub_declares_is_assigned_in_the_source(name: str) -> None:
    path = PACKAGE / f"{name.removeprefix('motetrace.')}.py"
    tree, stub = ast.parse(path.read_text()), ast.parse(path.with_suffix(".pyi").read_text())
    sources = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for declared in (node for node in stub.body if isinstance(node, ast.ClassDef) and node.name in sources):
        source = sources[declared.name]
        names = {node.target.id for node in declared.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        assert names <= assigned(source, sources) | FOREIGN.get(name, set()), (name, declared.name)


# What the client that an adapter extends assigns: held by the stand-in, below.
FOREIGN = {
    "motetrace.mqtt5": {"client_id", "server", "port", "keepalive", "rcv_pids"},
    "motetrace.simple": {"client_id", "server", "port"},
    "motetrace.robust": {"client_id", "server", "port"},
    "motetrace.robust2": {"client_id", "server", "port", "conn_issue"},
    "motetrace.mqtt_as": {"mqttv5"},
    "motetrace.minimqtt": {"on_message", "on_connect"},
}


def assigned(source: ast.ClassDef, others: dict[str, ast.ClassDef]) -> set[str]:
    """Attributes of self and of the class, its bases in the same file included."""
    names = set()
    for base in source.bases:
        if isinstance(base, ast.Name) and base.id in others:
            names |= assigned(others[base.id], others)
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_the_attributes_of_clients_are_there() -> None:
    clients = {
        "motetrace.mqtt5": "MQTTClient('d', 'host')",
        "motetrace.simple": "MQTTClient('d', 'host')",
        "motetrace.robust": "MQTTClient('d', 'host')",
        "motetrace.robust2": "MQTTClient('d', 'host')",
        "motetrace.mqtt_as": "MQTTClient(__import__('mqtt_as').config)",
        "motetrace.minimqtt": "MQTT(broker='host')",
    }
    code = "import json\nfrom motetrace import testing\ntesting.install()\nfound = {}\n"
    for name, made in clients.items():
        code += f"import {name}\nfound[{name!r}] = sorted(vars({name}.{made}))\n"
    done = python(code + "print(json.dumps(found))")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert FOREIGN.keys() == clients.keys()
    for name, attributes in FOREIGN.items():
        assert attributes <= set(found[name]), name


def test_an_editor_finds_a_wrong_argument_in_a_users_firmware(tmp_path: Path) -> None:
    right = """
from motetrace import Tracer
from motetrace.messages import birth
from motetrace.mqtt5 import MQTTClient

tracer = Tracer("seqref")
client = MQTTClient("d", "broker", tracer=tracer, expiry=60)
client.plain(b"motetrace/d/birth", birth(tracer, "1.4.2"), True, 1)
client.publish(b"devices/d/telemetry", memoryview(b"{}"), qos=1)
"""
    wrong = (
        right.replace('"seqref"', '"sequence"').replace("expiry=60", "expires=60").replace('birth(tracer, "', 'birth("')
    )
    shown = {}
    for name, text in (("right", right), ("wrong", wrong)):
        (tmp_path / f"{name}.py").write_text(text)
        words = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), f"{name}.py"]
        shown[name] = subprocess.run(
            words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
        ).stdout
    assert shown["right"].startswith("Success"), shown["right"]
    assert [line.split(":")[1] for line in shown["wrong"].splitlines() if " error: " in line] == ["6", "7", "8"], shown[
        "wrong"
    ]


# From here on the parts of motetrace.testing that need no client; clients: tests/clients/test_stand_ins.py.
Ticks = importlib.import_module("motetrace.testing.clock").Ticks
mqtt_broker = importlib.import_module("motetrace.testing.mqtt_broker")


def test_ticks_stand_still_until_they_are_stepped_and_wrap_as_a_boards_do() -> None:
    ticks = Ticks()
    assert ticks.ticks_ms() == ticks.ticks_ms() == 0
    ticks.step((1 << 30) - 1)
    before = ticks.ticks_ms()
    ticks.sleep_ms(3)
    assert (before, ticks.ticks_ms()) == ((1 << 30) - 1, 2)
    assert ticks.ticks_diff(ticks.ticks_ms(), before) == 3 == -ticks.ticks_diff(before, ticks.ticks_ms())
    assert ticks.ticks_add(before, 3) == ticks.ticks_ms()
    ticks.sleep_us(1500)
    assert ticks.ticks_ms() == 3
    ticks.reset()
    assert ticks.ticks_ms() == ticks.ticks_us() == 0


@pytest.mark.parametrize(
    ("pattern", "topics", "others"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "a/c"]),
        ("a/+/c", ["a/b/c", "a//c"], ["a/b", "a/b/b", "a/b/c/d"]),
        ("a/#", ["a", "a/b", "a/b/c"], ["b", "b/a"]),
        ("#", ["a", "a/b"], []),
    ],
)
def test_the_broker_delivers_by_topic_filter(pattern: str, topics: list[str], others: list[str]) -> None:
    broker = mqtt_broker.Broker()
    mailbox = broker.connect()
    mailbox.filters.add(pattern)
    assert [broker.deliver(topic, "x") for topic in topics] == [1] * len(topics)
    assert [broker.deliver(topic, "x") for topic in others] == [0] * len(others)
    assert [message.topic for message in mailbox.waiting] == topics


TRACEPARENT = "00-d4e194814a0000001147b1c0c2ad48d3-8973a8cf00000011-03"


@pytest.mark.parametrize(
    ("payload", "pairs", "context", "seq"),
    [
        (b"21.5", [("traceparent", TRACEPARENT)], TRACEPARENT, 17),
        (b"21.5", [("seqref", "d4e194814a-00000011-03")], "d4e194814a-00000011-03", 17),
        (b'{"seqref":"d4e194814a-ffffffff-03-0000019","t":1}', [], "d4e194814a-ffffffff-03-0000019", 0xFFFFFFFF),
        (b'{"traceparent":"' + TRACEPARENT.encode() + b'"}', [], TRACEPARENT, 17),
        (b'{"traceparent":"mine","t":1}', [], None, None),
        (b'{"traceparent":1}', [], None, None),
        (b'{"t":', [], None, None),
        (b"21.5", [("unit", "C")], None, None),
    ],
)
def test_a_message_names_the_context_that_it_carries(
    payload: bytes, pairs: list[tuple[str, str]], context: str | None, seq: int | None
) -> None:
    message = mqtt_broker.Published("t", payload, pairs)
    assert (message.context, message.seq) == (context, seq)
