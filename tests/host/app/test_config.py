"""Settings: flags before environment before file before defaults; what is wrong is refused with a remedy."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.cli import main
from motetrace_host.core.mqtt.topics import overlap
from motetrace_host.settings import SETTINGS
from motetrace_host.shim import config
from motetrace_host.shim.config import ConfigError

TOPIC = "devices/{device_id}/telemetry"
STATE = Path("state")


def load(flags: dict[str, object] | None = None, environment: dict[str, str] | None = None) -> config.Config:
    return config.load({"topic": (TOPIC,), **(flags or {})}, environment or {}, STATE)


def mistakes(flags: dict[str, object] | None = None, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        load(flags, environment)
    return str(refused.value)


def test_defaults_are_enough_with_one_topic() -> None:
    loaded = load()
    assert (loaded.connection.broker.host, loaded.connection.broker.port, loaded.connection.broker.tls) == (
        "127.0.0.1",
        1883,
        False,
    )
    assert (loaded.storage.state, loaded.storage.key_file) == (STATE, STATE / "key")
    assert [topic.filter for topic in loaded.readings.topics] == ["devices/+/telemetry"]
    assert loaded.readings.side_topics[0].filter == "motetrace/+/birth"


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('queue = 300\ntenant = "file"\nlog_level = "error"\ntopic = ["a/{device_id}"]\n')
    environment = {"MOTETRACE_QUEUE": "200", "MOTETRACE_TENANT": "environment", "MOTETRACE_CONFIG": str(file)}
    loaded = config.load({"queue": "100"}, environment, STATE)
    assert (loaded.connection.queue, loaded.storage.tenant, loaded.logging.log_level) == (100, "environment", "error")
    assert [topic.template for topic in loaded.readings.topics] == ["a/{device_id}"]


def test_the_receive_maximum_fits_into_the_queue() -> None:
    assert (load().connection.receive_maximum, load().connection.queue) == (10_000, 50_000)
    assert load({"queue": "500"}).connection.receive_maximum == 500
    assert load({"queue": "500", "receive_maximum": "500"}).connection.receive_maximum == 500
    told = mistakes({"queue": "500", "receive_maximum": "501"})
    assert "--receive-maximum 501 is more than --queue 500" in told
    assert "renewed again and again" in told


def test_the_reader_is_ours_unless_that_of_paho_is_asked_for() -> None:
    assert load().connection.receive == "bulk"
    assert load({"receive": "paho"}).connection.receive == "paho"
    assert "allowed are bulk, paho" in mistakes({"receive": "raw"})


def test_lists_and_pairs_can_be_given_everywhere(tmp_path: Path) -> None:
    pair = ("legacy/{device_id}/data", "traced/{device_id}/data")
    file = tmp_path / "m.toml"
    file.write_text(f'republish = [["{pair[0]}", "{pair[1]}"]]\n')
    for loaded in (
        load({"republish": (pair,)}),
        load(None, {"MOTETRACE_REPUBLISH": " ".join(pair)}),
        load({"config": str(file)}),
    ):
        assert [(source.template, target.template) for source, target in loaded.readings.republish] == [pair]
        assert pair[0] in [topic.template for topic in loaded.readings.topics], "what is republished is followed"
    several = config.load({}, {"MOTETRACE_TOPIC": "a/{device_id}, b/{device_id}"}, STATE)
    assert [topic.template for topic in several.readings.topics] == ["a/{device_id}", "b/{device_id}"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("queue", "5", "100..1000000"),
        ("queue", "many", "100..1000000"),
        ("receive_maximum", "0", "1..65535"),
        ("receive_maximum", "65536", "1..65535"),
        ("session_expiry", "0", "1..4294967295"),
        ("keep", "0", "1..3650 days"),
        ("max_spans", "-1", "1000..10000000000"),
        ("broker", "host:1883", "mqtt://"),
        ("broker", "mqtt://host:99999", "1..65535"),
        ("broker", "mqtt://user:secret@host", "--password-file"),
        ("broker", "http://host", "mqtt://"),
        ("topic", ("devices/+/telemetry",), "{device_id}"),
        ("otlp", "host:4318", "http://"),
        ("otlp_listen", "4318", "HOST:PORT"),
        ("otlp_listen", "127.0.0.1:70000", "0..65535"),
        ("log_level", "loud", "debug, info, warning, error"),
        ("log_format", "xml", "json, console"),
        ("prefix", "motetrace", "motetrace/"),
        ("prefix", "a/+/", "+ # { }"),
        ("client_id", "a b", "0-9 A-Z"),
        ("tenant", "x" * 256, "255"),
        ("tenant", "a\x1b", "printable"),
        ("republish", (("a/{device_id}", "b/+/{device_id}"),), "wildcards"),
        ("password_file", "p", "--username"),
        ("ca_file", "ca.pem", "mqtts://"),
        ("client_cert", "shim.pem", "mqtts://"),
        ("client_cert", "shim.pem", "needs --client-key"),
        ("client_key", "shim.key", "needs --client-cert"),
        ("trust", (("devices/#", "believe"),), "continue, link, resample, off"),
        ("trust", (("devices/#/x", "off"),), "'#' the last"),
        ("trust", (("device/#", "off"),), "matches no topic that is followed (devices/{device_id}/telemetry)"),
        ("trust", (("devices/{device_id}/#", "off"), ("devices/+/#", "link")), "the first that matches counts"),
        ("device_property", "traceparent", "none of baggage, seqref"),
        ("device_property", "x" * 256, "255"),
        ("otlp_headers_file", "headers", "needs --otlp"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: object, told: str) -> None:
    message = mistakes({name: value})
    assert told in message
    assert "--" + name.replace("_", "-") in message


def test_a_wrong_value_names_where_it_came_from(tmp_path: Path) -> None:
    assert mistakes(None, {"MOTETRACE_QUEUE": "5"}).startswith("MOTETRACE_QUEUE '5'")
    file = tmp_path / "m.toml"
    file.write_text("queue = 5\n")
    assert f"queue in {file}" in mistakes({"config": str(file)})
    file.write_text("queue = true\n")
    assert "whole number" in mistakes({"config": str(file)})
    file.write_text("queue = \n")
    assert "not TOML" in mistakes({"config": str(file)})
    assert "name one that exists" in mistakes({"config": str(tmp_path / "absent")})


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        load({"queue": "5", "log_level": "loud"})
    assert len(refused.value.mistakes) == 2


def test_an_unknown_key_in_the_file_is_refused_and_the_nearest_named(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text("recieve-maximum = 5\n")
    assert "did you mean receive_maximum?" in mistakes({"config": str(file)})
    file.write_text("zzz = 5\n")
    assert "known are broker" in mistakes({"config": str(file)})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f'topic = "{TOPIC}"', f'topic = ["{TOPIC}"]'),
        (f'trailer = "{TOPIC}"', f'trailer = ["{TOPIC}"]'),
        ("topic = 5", 'topic = ["TEMPLATE"]'),
        ('republish = "a/{device_id} b/{device_id}"', 'republish = [["FROM", "TO"]]'),
        ('republish = ["a/{device_id}", "b/{device_id}"]', 'republish = [["a/{device_id}", "b/{device_id}"]]'),
    ],
)
def test_a_list_in_the_file_that_is_none_is_refused_with_how_to_write_it(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(line + "\n")
    flags = {} if line.startswith("topic") else {"topic": (TOPIC,)}
    with pytest.raises(ConfigError) as refused:
        config.load({**flags, "config": str(file)}, {}, STATE)
    assert f"write a list: {told}" in str(refused.value)


def test_a_variable_of_ours_that_nobody_reads_is_refused_and_the_nearest_named() -> None:
    assert mistakes(None, {"MOTETRACE_KEYFILE": "k"}) == (
        "MOTETRACE_KEYFILE in the environment is no setting; did you mean MOTETRACE_KEY_FILE?"
    )
    assert "known are MOTETRACE_BROKER, " in mistakes(None, {"MOTETRACE_ZZZ": "1"})


@pytest.mark.parametrize(
    "name",
    [
        "MOTETRACE_PARTS",
        "MOTETRACE_DEBIAN_MIRROR",
        "MOTETRACE_PAHO_LINK_ONLY_TOPICS",
        "MOTETRACE_SERVICE_HOST",
        "MOTETRACE_SERVICE_PORT_OTLP",
        "MOTETRACE_PORT",
        "MOTETRACE_PORT_4318_TCP_ADDR",
        "MOTETRACE_SHIM_SERVICE_HOST",
        "OTHER",
    ],
)
def test_variables_that_others_read_or_kubernetes_sets_are_let_pass(name: str) -> None:
    load(None, {name: "x"})
    load(None, {"MOTETRACE_QUEUES": ""})  # empty is not set


def test_trust_is_a_list_of_rules_in_their_order_everywhere(tmp_path: Path) -> None:
    rules = (("devices/{device_id}/#", "link"), ("devices/#", "off"))
    file = tmp_path / "m.toml"
    file.write_text(f"trust = {[list(rule) for rule in rules]}\n")
    for loaded in (
        load({"trust": rules}),
        load(None, {"MOTETRACE_TRUST": ", ".join(map(" ".join, rules))}),
        load({"config": str(file)}),
    ):
        assert [(one.text, policy.word) for one, policy in loaded.readings.trust] == list(rules)
    assert load().readings.trust == ()
    assert load().readings.device_property == ""


def test_no_topic_is_refused_with_an_example() -> None:
    assert "--topic 'devices/{device_id}/telemetry'" in mistakes({"topic": ()})


@pytest.mark.parametrize(
    "target",
    [
        "devices/{device_id}/telemetry",
        "motetrace/{device_id}/birth",
        "devices/x/{device_id}",
        "{device_id}/a/telemetry",
    ],
)
def test_a_republish_that_would_come_back_in_is_refused(target: str) -> None:
    assert "come back in" in mistakes({"republish": ((TOPIC, target),)})


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"topic": ("e/{device_id}/#", "e/+/{device_id}")}, ("--topic e/{device_id}/#", "--topic e/+/{device_id}")),
        ({"republish": (("e/{device_id}/t", "r/{device_id}/t"),)}, ("--topic e/{device_id}/#", "--republish e/{d")),
        ({"trailer": ("e/{device_id}/bin",)}, ("--topic e/{device_id}/#", "--trailer e/{device_id}/bin")),
        ({"trailer": ("{device_id}/x/+",)}, ("--topic e/{device_id}/#", "--trailer {device_id}/x/+")),
    ],
)
def test_templates_that_share_topics_are_refused_by_both_names(more: dict[str, object], named: tuple[str, str]) -> None:
    told = mistakes({"topic": ("e/{device_id}/#",), **more})
    assert all(name in told for name in named)
    assert "counted twice" in told
    assert "leave out the wider one" in told


def test_the_same_template_may_be_followed_republished_and_have_a_trailer() -> None:
    loaded = load({"trailer": (TOPIC,), "republish": ((TOPIC, "traced/{device_id}"),)})
    assert [topic.template for topic in loaded.readings.topics] == [TOPIC]
    load({"trailer": ("e/{device_id}/bin",), "republish": (("e/{device_id}/t", "r/{device_id}"),)})


def test_a_template_that_would_take_births_for_readings_is_refused() -> None:
    told = mistakes({"topic": ("{device_id}/#",)})
    assert "matches motetrace/{device_id}/birth, whose messages would be taken for readings" in told
    assert "--prefix" in told


@given(st.sampled_from([setting.name for setting in SETTINGS]), st.text(max_size=40))
def test_any_text_is_taken_or_refused_and_never_breaks(name: str, value: str) -> None:
    try:
        load(None, {f"MOTETRACE_{name.upper()}": value})
    except ConfigError as error:
        assert str(error)


def test_every_setting_is_a_documented_option() -> None:
    options = {option.name: option for option in main.commands["run"].params}
    for setting in SETTINGS:
        assert setting.flag in options[setting.name].opts
        assert len(setting.help) > 20
    assert set(options) == {setting.name for setting in SETTINGS} | {"config"}


def matches(topic_filter: str, topic: str) -> bool:
    """MQTT 5.0, 4.7, told slowly."""
    pattern = "/".join({"+": "[^/]*", "#": "\\#"}.get(level, re.escape(level)) for level in topic_filter.split("/"))
    pattern = pattern.replace("/\\#", "(/.*)?").replace("\\#", ".*")
    return re.fullmatch(pattern, topic) is not None


LEVELS = st.lists(st.sampled_from(["a", "b", "+", "#"]), min_size=1, max_size=4)
FILTERS = LEVELS.filter(lambda levels: "#" not in levels[:-1]).map("/".join)


@given(FILTERS, FILTERS)
def test_overlapping_filters_are_those_with_a_common_topic(one: str, other: str) -> None:
    def topics(depth: int) -> list[str]:
        shorter = topics(depth - 1) if depth > 1 else []
        return shorter + [f"{start}/{level}" for start in shorter for level in ("a", "b")] if depth > 1 else ["a", "b"]

    common = any(matches(one, topic) and matches(other, topic) for topic in topics(5))
    assert overlap(one, other) == common


@pytest.mark.parametrize("name", ["broker", "otlp"])
def test_credentials_in_an_address_are_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load({"topic": ("d/{device_id}",), name: "mqtt://user:s3cret@host"}, {}, Path("state"))
    assert "s3cret" not in str(caught.value.mistakes)
    assert "***@host" in str(caught.value.mistakes)
