"""W3C's conformance cases through a real round trip: a device, mosquitto, an instrumented paho program, mosquitto.

The suite's own harness sends HTTP requests to a service and looks at the requests that the service makes in turn. Here
a message takes the request's place, and the messages that its callback publishes that of the service's own requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from services import Mosquitto

from motetrace_host.stages.incoming import user_properties
from tests.host.otel.clients import MQTTv5, MQTTv311, connected
from tests.host.stages.stage_recorder import publish_properties

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "w3c_cases.json").read_text())
CASES: list[dict[str, Any]] = VECTORS["cases"]
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
OURS = ("traceparent", "tracestate")


def mqtt_can_carry(case: dict[str, Any]) -> bool:
    """Mosquitto ends the connection on a tab in a user property (MQTT 5, section 1.5.4); in JSON it is escaped."""
    return all(value.isprintable() for _, value in case["headers"])


def as_json(headers: list[list[str]]) -> str:
    """A payload with the same fields: several tracestates become one list, two traceparents stay two."""
    fields = [(name, value) for name, value in headers if name != "tracestate"]
    lists = [value for name, value in headers if name == "tracestate"]
    fields += [("tracestate", ",".join(lists))] if lists else []
    return "{" + ",".join([f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields] + ['"t":1']) + "}"


def carried(message: MQTTMessage, carrier: str) -> list[tuple[str, str]]:
    pairs = (
        list(json.loads(message.payload, object_pairs_hook=lambda pairs: pairs))
        if carrier == "json"
        else user_properties(message.properties)
    )
    return [(name, value) for name, value in pairs if name.lower() in OURS]


def check(case: dict[str, Any], sent_on: list[list[tuple[str, str]]]) -> None:
    name, parents = case["name"], set()
    for fields in sent_on:
        assert [field for field, _ in fields].count("traceparent") == 1, name
        match = TRACEPARENT.fullmatch(dict(fields)["traceparent"])
        assert match is not None, name
        assert (match[1] == VECTORS["trace_id"]) is case["continued"], name
        assert case["continued"] or not any(match[1] in value for _, value in case["headers"]), name
        assert match[1] != "0" * 32 and match[2] not in ("0" * 16, VECTORS["parent_id"]), name
        parents.add(match[2])
        if case["continued"]:
            sent_flags = int(case["headers"][0][1].strip(" \t")[53:55], 16)
            assert int(match[3], 16) == case.get("flags", sent_flags), name
        members = [part.strip() for part in dict(fields).get("tracestate", "").split(",") if part.strip()]
        expected = case.get("tracestate", [])
        assert members == [f"{key}={value}".strip() for key, value in expected], name
    assert len(parents) == case.get("copies", 1), name


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("carrier", ["user_property", "json"])
def test_every_case_has_its_outcome_behind_a_real_round_trip(
    mosquitto: Mosquitto, instrument: Callable[..., Any], carrier: str, qos: int
) -> None:
    protocol = MQTTv311 if carrier == "json" else MQTTv5
    copies = 1

    def service(client: Client, _: Any, message: MQTTMessage) -> None:
        for _copy in range(copies):
            client.publish("out", b"{}", qos)

    with (
        connected(mosquitto, "out", protocol=protocol, qos=qos) as (_, receive),
        connected(mosquitto, "in", protocol=protocol, qos=qos, callback=service),
        connected(mosquitto, protocol=protocol) as (device, _),
    ):
        device_publish = Client.publish  # the device is no part of the instrumented program
        instrument(payload_member=carrier == "json")
        passed = 0
        for case in CASES:
            copies = case.get("copies", 1)
            if carrier == "json":
                device_publish(device, "in", as_json(case["headers"]), qos)
            elif mqtt_can_carry(case):
                properties = publish_properties(*[(name, value) for name, value in case["headers"]])
                device_publish(device, "in", b"{}", qos, properties=properties)
            else:
                continue
            check(case, [carried(receive(), carrier) for _copy in range(copies)])
            passed += 1
    with_tabs = sum(not mqtt_can_carry(case) for case in CASES)
    assert passed == len(CASES) - (0 if carrier == "json" else with_tabs)
    assert with_tabs == 8


def test_every_test_of_the_suite_is_among_the_cases() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) == 98
    assert len(VECTORS["suite"]) == 40
    missing = [each for each in VECTORS["suite"] if not any(re.match(rf"{each}(?![\w])", name) for name in names)]
    assert missing == []


def test_where_the_outcome_is_another_one_than_the_suites_the_case_says_why() -> None:
    differing = [case["name"] for case in CASES if "differs" in case]
    assert len(differing) == 11
    assert all("casing" in name or "vendor" in name or "key_length_limit" in name for name in differing)
