"""Baggage through the stages and the propagator: what may pass, at the way in and at the way out."""

from __future__ import annotations

import logging

import pytest
from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context

from motetrace_host import stages
from motetrace_host.otel.propagator import MotetracePropagator
from motetrace_host.stages import settings
from motetrace_host.stages.incoming import user_properties
from tests.host.stages.stage_recorder import KEY, TRACEPARENT, FakeMessage, publish_properties

OURS = MotetracePropagator()
TEXT = "site=lab;unit=1,user=alice,line=7;p"


def message(text: str = TEXT) -> FakeMessage:
    return FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT), ("baggage", text)))


def sent(context: Context) -> str | None:
    return dict(user_properties(stages.inject(context=context))).get("baggage")


def extracted(text: str = TEXT) -> Context:
    return OURS.extract({"traceparent": TRACEPARENT, "baggage": text})


def injected(context: Context) -> str | None:
    carrier: dict[str, str] = {}
    OURS.inject(carrier, context)
    return carrier.get("baggage")


def test_by_default_all_baggage_passes_byte_for_byte() -> None:
    text = "a = +1 ;p=x,b=%ff,a=2"
    assert sent(stages.extract(message(text))) == injected(extracted(text)) == text


def test_only_listed_names_come_in_and_go_out() -> None:
    stages.configure(key=KEY, baggage_allow=["site", "line"])
    for context, out in ((stages.extract(message()), sent), (extracted(), injected)):
        assert otel_baggage.get_all(context) == {"site": "lab", "line": "7"}
        assert out(context) == "site=lab;unit=1,line=7;p"
        assert out(otel_baggage.set_baggage("user", "bob", context)) == "site=lab;unit=1,line=7;p"


def test_a_list_that_changed_since_is_kept_to_at_the_way_out() -> None:
    context = stages.extract(message())
    stages.configure(key=KEY, baggage_allow=["line"])
    assert sent(context) == "line=7;p"
    stages.configure(key=KEY, baggage_allow=[])
    assert sent(context) is None


def test_whole_members_beyond_the_cap_are_left_out_on_both_ways() -> None:
    stages.configure(key=KEY, baggage_max_bytes=16)
    context = stages.extract(message("site=lab;unit=1,user=alice"))
    assert otel_baggage.get_all(context) == {"site": "lab"}
    assert sent(context) == "site=lab;unit=1"
    assert sent(otel_baggage.set_baggage("b", "12345", context)) == "site=lab;unit=1"
    stages.configure(key=KEY, baggage_max_bytes=23)
    assert sent(otel_baggage.set_baggage("b", "12345", context)) == "site=lab;unit=1,b=12345"


def test_what_the_application_changed_is_written_and_the_rest_keeps_its_properties() -> None:
    context = otel_baggage.set_baggage("user", "bob & co", extracted())
    context = otel_baggage.remove_baggage("site", context)
    context = otel_baggage.set_baggage("new", 1, context)
    assert injected(context) == sent(context) == "user=bob%20&%20co,line=7;p,new=1"


def test_baggage_without_a_trace_keeps_its_properties_too() -> None:
    context = OURS.extract({"baggage": TEXT})
    assert injected(context) == TEXT


def test_a_member_that_breaks_the_grammar_is_left_out_and_its_neighbours_pass() -> None:
    context = stages.extract(message('a=John Doe,b="q",site=lab;unit=1,=x'))
    assert otel_baggage.get_all(context) == {"site": "lab"}
    assert sent(context) == "site=lab;unit=1"


@pytest.mark.parametrize(
    ("allow", "members"),
    [
        ("", {"site", "user", "line"}),
        ("*", {"site", "user", "line"}),
        (" site , line ", {"site", "line"}),
        (",", set()),
    ],
)
def test_the_environment_names_what_may_pass(monkeypatch: pytest.MonkeyPatch, allow: str, members: set[str]) -> None:
    monkeypatch.setattr(settings, "_settings", None)
    monkeypatch.setenv("MOTETRACE_BAGGAGE_ALLOW", allow)
    monkeypatch.setenv("MOTETRACE_BAGGAGE_MAX_BYTES", "100")
    assert set(otel_baggage.get_all(stages.extract(message()))) == members
    assert settings.current().baggage.max_bytes == 100


@pytest.mark.parametrize(
    ("name", "value"), [("ALLOW", "site,no token"), ("ALLOW", "*,site page"), ("MAX_BYTES", "8k"), ("MAX_BYTES", "0")]
)
def test_a_broken_environment_lets_nothing_pass_says_so_once_and_keeps_the_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setattr(settings, "_settings", None)
    monkeypatch.setenv(f"MOTETRACE_BAGGAGE_{name}", value)
    with pytest.raises(ValueError, match=r"baggage|BAGGAGE"):
        stages.configure(key=KEY)
    with caplog.at_level(logging.WARNING, "motetrace"):
        assert otel_baggage.get_all(stages.extract(message())) == {}
        stages.extract(message())
    assert len(caplog.records) == 1 and "no baggage will pass" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"baggage_max_bytes": 0}, r"1\.\.65535"), ({"baggage_allow": ["a b"]}, "'a b' is no token")],
)
def test_a_wrong_argument_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stages.configure(**wrong)  # type: ignore[arg-type]
