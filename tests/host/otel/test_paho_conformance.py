"""The standard's cases, from a device through a broker into an instrumented program, and on from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services import Mosquitto

from motetrace_host.stages.incoming import user_properties
from tests.host.otel.clients import MQTTv5, MQTTv311, connected, ids, spans_named
from tests.host.stages.stage_recorder import PARENT_ID, TRACE_ID, TRACEPARENT, Recorder, publish_properties

Instrument = Callable[..., Any]
DEVICE = (int(TRACE_ID, 16), int(PARENT_ID, 16))
VECTORS = Path(__file__).parents[2] / "vectors"


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return found


def mqtt_can_carry(text: str) -> bool:
    """MQTT 5 forbids NUL in a string, and mosquitto every control character (MQTT 5, section 1.5.4)."""
    return not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)


@pytest.mark.parametrize("carrier", ["user_property", "json"])
def test_the_standards_cases_go_through_a_real_round_trip(
    mosquitto: Mosquitto, instrument: Instrument, recorder: Recorder, carrier: str
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = [
        (name, case)
        for name in ("traceparent", "tracestate")
        for case in cases(name)
        if carrier == "json" or mqtt_can_carry(case["input"])
    ]
    assert len(sent) == (136 if carrier == "json" else 136 - 20), len(sent)
    protocol = MQTTv311 if carrier == "json" else MQTTv5
    with (
        connected(mosquitto, "out", protocol=protocol) as (_, receive),
        connected(
            mosquitto,
            "in",
            protocol=protocol,
            callback=lambda client, _, message: client.publish("out", b"{}", 1) and None,
        ),
        connected(mosquitto, protocol=protocol) as (device, _),
    ):
        device_publish = type(device).publish  # the device is no part of the instrumented program
        instrument(payload_member=True)
        expected: list[tuple[str, tuple[int, int] | None, str]] = []
        for name, case in sent:
            fields = {"traceparent": TRACEPARENT} | {name: case["input"]}
            if carrier == "json":
                device_publish(device, "in", json.dumps(fields | {"t": 1}), 1)
            else:
                device_publish(device, "in", b"{}", 1, properties=publish_properties(*fields.items()))
            out = receive()
            carried = json.loads(out.payload) if carrier == "json" else dict(user_properties(out.properties))
            if name == "tracestate":
                assert carried["traceparent"].startswith(f"00-{TRACE_ID}-"), case["name"]
                kept = [part.strip(" \t") for part in carried.get("tracestate", "").split(",") if part.strip(" \t")]
                if not case["valid"]:
                    assert kept == [], case["name"]
                elif len(case["input"]) <= 512:
                    assert kept == [f"{key}={value}" for key, value in case["members"]], case["name"]
                expected.append((case["name"], DEVICE, "traceparent"))
            elif case["valid"]:
                assert carried["traceparent"][:36] == f"00-{case['trace_id']}-", case["name"]
                assert int(carried["traceparent"][53:], 16) == case["flags"], case["name"]
                if case["flags"] & 1:  # others are passed on and not recorded
                    parent = int(case["trace_id"], 16), int(case["parent_id"], 16)
                    expected.append((case["name"], parent, "traceparent"))
            else:
                expected.append((case["name"], None, f"none:{case['reason']}"))
        processed = spans_named(recorder, "process", 2 * len(expected))
    rules = [span for span in processed if (span.attributes or {})["messaging.destination.name"] == "in"]
    assert len(expected) > 90
    for (what, parent_ids, origin), rule in zip(expected, rules, strict=True):
        assert (rule.parent and ids(rule.parent)) == parent_ids, what
        assert [ids(link.context) for link in rule.links] == ([parent_ids] if parent_ids else []), what
        assert (rule.attributes or {})["trace.origin"] == origin, what
