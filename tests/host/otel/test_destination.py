"""Promises of Destinations in core/mqtt/topics.py, and of otel/paho_options.py."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from motetrace_host.core.mqtt.topics import Destinations
from motetrace_host.otel import paho_options

LEVEL = st.sampled_from(["a", "b", "", "$SYS", "a.b", "é\n"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.tuples(st.lists(LEVEL | st.just("+"), min_size=1, max_size=3), st.booleans()).map(
    lambda drawn: "/".join([*drawn[0], *(["#"] if drawn[1] else [])])
)


@given(FILTERS.filter(bool), TOPICS)
def test_filters_match_as_paho_matches_them(pattern: str, topic: str) -> None:
    assert (Destinations([pattern]).match(topic) is not None) == topic_matches_sub(pattern, topic)


def test_the_first_template_that_fits_names_the_topic() -> None:
    destinations = Destinations(["rules/store", "devices/{device_id}/{what}", "site/#"])
    assert destinations.match("devices/sensor-1/telemetry") == "devices/{device_id}/{what}"
    assert destinations.match("rules/store") == "rules/store"
    assert destinations.match("site") == destinations.match("site/a/b") == "site/#"
    assert destinations.match("devices/sensor-1") is None


@pytest.mark.parametrize("broken", ["", "a/#/b", "a+/b", "a/{}", "a/{x}y", "$share/g/a"])
def test_a_broken_template_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="template"):
        Destinations([broken])


def test_options_come_from_arguments_and_else_from_the_environment() -> None:
    environment = {
        "MOTETRACE_PAHO_LINK_ONLY": "True",
        "MOTETRACE_PAHO_TOPICS": "a/{device_id}, b/#,",
        "MOTETRACE_PAHO_LINK_ONLY_TOPICS": "status/+",
    }
    options = paho_options.load(environment=environment)
    assert options.link_only and not options.payload_member
    assert options.topics.templates == ("a/{device_id}", "b/#")
    assert options.link_only_topics.templates == ("status/+",)
    options = paho_options.load(link_only=False, payload_member=True, topics=["c"], environment=environment)
    assert (options.link_only, options.payload_member, options.topics.templates) == (False, True, ("c",))
    with pytest.raises(ValueError, match="MOTETRACE_PAHO_LINK_ONLY"):
        paho_options.load(environment={"MOTETRACE_PAHO_LINK_ONLY": "maybe"})


def test_every_option_and_every_attribute_is_documented() -> None:
    host = Path(paho_options.__file__).parent
    documented = (Path(__file__).parents[3] / "docs" / "opentelemetry.md").read_text()
    for field in fields(paho_options.PahoOptions):
        assert f"`{field.name}` | `MOTETRACE_PAHO_{field.name.upper()}`" in documented
    source = "".join((host / f"paho_{name}.py").read_text() for name in ("attributes", "tracing"))
    names = set(re.findall(r'"((?:messaging|server|mqtt|code|error|trace|device)\.[a-z_.]+)"', source))
    assert len(names) >= 14
    assert not {name for name in names if f"`{name}`" not in documented}
