"""Promises of core/mqtt/topics.py."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.mqtt.topics import TopicTemplate

TELEMETRY = TopicTemplate("devices/{device_id}/telemetry")


@pytest.mark.parametrize(
    ("template", "subscription"),
    [
        ("devices/{device_id}/telemetry", "devices/+/telemetry"),
        ("{device_id}", "+"),
        ("{device_id}/#", "+/#"),
        ("+/{device_id}/+/x", "+/+/+/x"),
        ("/{device_id}/", "/+/"),
        ("fühler/{device_id}", "fühler/+"),
    ],
)
def test_a_template_gives_its_filter(template: str, subscription: str) -> None:
    found = TopicTemplate(template)
    assert found.template == template
    assert found.filter == subscription


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("", "1..65535 bytes"),
        ("devices/telemetry", "exactly once"),
        ("{device_id}/{device_id}", "exactly once"),
        ("devices/x{device_id}/telemetry", "whole levels"),
        ("{device_id}/x{device_id}", "whole levels"),
        ("{device_id}/a+", "level 'a+'"),
        ("#/{device_id}", "level '#'"),
        ("{device_id}/x#", "level 'x#'"),
        ("{device_id}/{site}", "level '{site}'"),
        ("a\0/{device_id}", "no NUL"),
        ("x" * 65_536 + "/{device_id}", "1..65535 bytes"),
        ("\ud800/{device_id}", "UTF-8"),
        ("$share/group/{device_id}", "behind the group"),
    ],
)
def test_a_wrong_template_is_refused_with_the_remedy(template: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        TopicTemplate(template)


@pytest.mark.parametrize(
    ("template", "topic", "device_id"),
    [
        ("devices/{device_id}/telemetry", "devices/sensor-0042/telemetry", "sensor-0042"),
        ("devices/{device_id}/telemetry", "devices/sensor-0042/telemetry/x", None),
        ("devices/{device_id}/telemetry", "devices/sensor-0042", None),
        ("devices/{device_id}/telemetry", "devices/a/b/telemetry", None),
        ("devices/{device_id}/telemetry", "Devices/sensor-0042/telemetry", None),
        ("devices/{device_id}/telemetry", "devices//telemetry", None),
        ("devices/{device_id}/telemetry", "", None),
        ("devices/{device_id}/#", "devices/a", "a"),
        ("devices/{device_id}/#", "devices/a/b/c", "a"),
        ("devices/{device_id}/#", "devices", None),
        ("devices/{device_id}/a/#", "devices/x/a", "x"),
        ("devices/{device_id}/a/#", "devices/x/b", None),
        ("devices/{device_id}/a/#", "devices/x", None),
        ("+/{device_id}/x", "any/a/x", "a"),
        ("+/{device_id}/x", "/a/x", "a"),
        ("{device_id}/x", "$SYS/x", None),
        ("+/{device_id}", "$SYS/a", None),
        ("$SYS/{device_id}", "$SYS/a", "a"),
        ("{device_id}", "d" * 255, "d" * 255),
        ("{device_id}", "d" * 256, None),
        ("{device_id}", "é" * 127, "é" * 127),
        ("{device_id}", "é" * 128, None),
        ("{device_id}", "a\0b", None),
        ("{device_id}", "\ud800", None),
    ],
)
def test_a_topic_gives_its_device_or_none(template: str, topic: str, device_id: str | None) -> None:
    assert TopicTemplate(template).match(topic) == device_id


DEVICE_IDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/+#\0"), min_size=1, max_size=60)


@given(DEVICE_IDS)
def test_a_filled_topic_gives_its_device_back(device_id: str) -> None:
    assert TELEMETRY.match(TELEMETRY.fill(device_id)) == device_id


@given(
    st.text(st.sampled_from("a/$+#\0é\ud800")) | st.text(),
    st.sampled_from(["{device_id}", "a/{device_id}/#", "+/{device_id}"]),
)
def test_any_topic_is_matched_or_not_and_never_raises(topic: str, template: str) -> None:
    device_id = TopicTemplate(template).match(topic)
    assert device_id is None or (device_id in topic.split("/") and 1 <= len(device_id.encode()) <= 255)


@pytest.mark.parametrize("device_id", ["", "a/b", "+", "#", "a\0", "d" * 256, "\ud800"])
def test_a_device_id_that_makes_no_topic_is_refused(device_id: str) -> None:
    with pytest.raises(ValueError, match="device_id"):
        TELEMETRY.fill(device_id)


def test_a_template_with_wildcards_names_no_single_topic() -> None:
    with pytest.raises(ValueError, match="wildcards"):
        TopicTemplate("{device_id}/#").fill("a")


def test_templates_are_equal_by_their_text() -> None:
    assert TopicTemplate("devices/{device_id}/telemetry") == TELEMETRY
    assert len({TELEMETRY, TopicTemplate("devices/{device_id}/telemetry"), TopicTemplate("{device_id}")}) == 2
    assert repr(TELEMETRY) == "TopicTemplate('devices/{device_id}/telemetry')"
