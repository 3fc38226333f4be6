"""Topic filters match what MQTT says they match."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.mqtt.topics import TopicFilter

LEVELS = st.lists(st.sampled_from(["a", "b", "", "$x", "+", "#"]), min_size=1, max_size=4)
FILTERS = LEVELS.filter(lambda levels: "#" not in levels[:-1]).map("/".join).filter(bool)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5).map("/".join)


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 5.0, 4.7, told slowly."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    pattern = "/".join({"+": "[^/]*", "#": "\\#"}.get(level, re.escape(level)) for level in topic_filter.split("/"))
    pattern = pattern.replace("/\\#", "(/.*)?").replace("\\#", ".*")
    return re.fullmatch(pattern, topic) is not None


@given(FILTERS, TOPICS)
def test_a_filter_matches_what_the_standard_says(topic_filter: str, topic: str) -> None:
    assert TopicFilter(topic_filter).match(topic) == matches(topic_filter, topic)


def test_a_template_is_a_filter_too() -> None:
    template = TopicFilter("site/+/{device_id}/data")
    assert template.match("site/7/s-1/data")
    assert not template.match("site/7/s-1/other")
    assert template.filter == "site/+/+/data"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1..65535 bytes"),
        ("a" * 65_536, "1..65535 bytes"),
        ("a\0", "no NUL"),
        ("$share/g/a", "behind the group"),
        ("a+/b", "whole levels"),
        ("a/#/b", "'#' the last"),
        ("a/{device}", "{device_id}"),
        ("\ud800", "not valid UTF-8"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_remedy(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        TopicFilter(text)
