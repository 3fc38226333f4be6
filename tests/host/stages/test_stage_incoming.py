"""extract: which span a message makes the parent, and which it must not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context

from motetrace_host import stages
from motetrace_host.core.messages.derived_ids import derive
from motetrace_host.stages import settings
from motetrace_host.stages.incoming import read
from tests.host.stages.stage_recorder import KEY, PARENT_ID, TRACE_ID, TRACEPARENT, FakeMessage, publish_properties

SEQREF = "0123456789-00000011-03"


def ids(context: Context) -> tuple[str, str, int]:
    span = get_current_span(context).get_span_context()
    return f"{span.trace_id:032x}", f"{span.span_id:016x}", span.trace_flags


def derived(device_id: str = "sensor-0042", key: bytes = KEY) -> tuple[str, str, int]:
    trace_id, span_id = derive(key, "acme", device_id, bytes.fromhex("0123456789"), 0x11)
    return trace_id.hex(), span_id.hex(), 3


def test_the_user_property_traceparent_is_the_parent() -> None:
    context = stages.extract(FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT))))
    assert ids(context) == (TRACE_ID, PARENT_ID, 3)
    assert get_current_span(context).get_span_context().is_remote


def test_the_json_member_traceparent_is_the_parent_where_there_is_no_user_property() -> None:
    payload = b'{"traceparent":"%s","temp":3.82}' % TRACEPARENT.encode()
    assert ids(stages.extract(FakeMessage(payload=payload))) == (TRACE_ID, PARENT_ID, 3)
    other = f"00-{'1' * 32}-{'2' * 16}-02"
    both = FakeMessage(payload=payload, properties=publish_properties(("traceparent", other)))
    assert ids(stages.extract(both)) == ("1" * 32, "2" * 16, 2)


@pytest.mark.parametrize(
    "message",
    [
        FakeMessage(properties=publish_properties(("seqref", SEQREF))),
        FakeMessage(properties=publish_properties(("seqref", SEQREF + "-1f4"))),
        FakeMessage(payload=b'{"seqref":"%s","temp":3.82}' % SEQREF.encode()),
    ],
    ids=["property", "property with age", "json"],
)
def test_a_seqref_is_derived_with_the_key_as_every_other_host_derives_it(message: FakeMessage) -> None:
    assert ids(stages.extract(message)) == derived()
    assert read(message, Context()).origin == "seqref"


def test_another_key_or_device_gives_another_trace() -> None:
    message = FakeMessage(properties=publish_properties(("seqref", SEQREF)))
    other_device = FakeMessage("devices/sensor-0043/telemetry", properties=publish_properties(("seqref", SEQREF)))
    here = ids(stages.extract(message))
    assert ids(stages.extract(other_device)) == derived("sensor-0043") != here
    stages.configure(key=bytes(32), tenant="acme")
    assert ids(stages.extract(message)) == derived(key=bytes(32)) != here


@pytest.mark.parametrize(
    ("message", "origin"),
    [
        (FakeMessage("elsewhere", properties=publish_properties(("seqref", SEQREF))), "none:topic_without_device"),
        (FakeMessage(payload=b'{"seq":17,"temp":3.82}'), "none:seq_without_boot"),
        (FakeMessage(), "none:absent"),
        (FakeMessage(payload=b"\xff\x00"), "none:absent"),
    ],
)
def test_a_message_without_usable_context_is_a_root_and_says_why(message: FakeMessage, origin: str) -> None:
    incoming = read(message, Context())
    assert incoming.origin == origin
    assert incoming.remote is None
    assert not get_current_span(incoming.context).get_span_context().is_valid


def test_a_broken_traceparent_is_a_root_with_the_reason_of_the_fault() -> None:
    incoming = read(FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT.upper()))), Context())
    assert incoming.origin.startswith("none:") and incoming.origin != "none:absent"
    assert incoming.remote is None


def test_without_a_key_a_seqref_is_not_guessed() -> None:
    stages.configure()
    incoming = read(FakeMessage(properties=publish_properties(("seqref", SEQREF))), Context())
    assert (incoming.origin, incoming.remote) == ("none:seqref_without_key", None)


def test_a_retained_message_is_linked_to_and_never_the_parent() -> None:
    message = FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT)), retain=True)
    incoming = read(message, Context())
    assert incoming.origin == "none:retained"
    assert incoming.remote is not None and f"{incoming.remote.trace_id:032x}" == TRACE_ID
    assert not get_current_span(stages.extract(message)).get_span_context().is_valid


def test_what_the_callers_context_holds_never_becomes_the_parent() -> None:
    mine = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, False)))
    mine = otel_baggage.set_baggage("mine", "1", mine)
    context = stages.extract(FakeMessage(), mine)
    assert not get_current_span(context).get_span_context().is_valid
    assert dict(otel_baggage.get_all(context)) == {}


def test_tracestate_and_baggage_come_along() -> None:
    properties = publish_properties(
        ("traceparent", TRACEPARENT), ("tracestate", "mt=a:1f4,rojo=1"), ("baggage", "site=a%20b;secret=1, n=1+1")
    )
    context = stages.extract(FakeMessage(properties=properties))
    assert get_current_span(context).get_span_context().trace_state.to_header() == "mt=a:1f4,rojo=1"
    assert dict(otel_baggage.get_all(context)) == {"site": "a b", "n": "1+1"}


def test_the_environment_names_the_key_and_the_tenant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("MOTETRACE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("MOTETRACE_TENANT", "acme")
    monkeypatch.setattr(settings, "_settings", None)
    assert ids(stages.extract(FakeMessage(properties=publish_properties(("seqref", SEQREF))))) == derived()


def test_a_broken_environment_is_refused_by_configure_but_never_breaks_a_callback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MOTETRACE_KEY_FILE", str(tmp_path / "absent"))
    monkeypatch.setattr(settings, "_settings", None)
    with pytest.raises((ValueError, OSError), match="absent"):
        stages.configure()
    assert read(FakeMessage(properties=publish_properties(("seqref", SEQREF))), Context()).remote is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"key": b"short"}, "5 bytes.*16..64"),
        ({"key": bytes(65)}, "65 bytes.*16..64"),
        ({"key_file": "absent"}, "absent does not exist.*state folder"),
        ({"tenant": "x" * 256}, "256 bytes.*0..255"),
        ({"key": KEY, "key_file": "key"}, "one of them"),
        ({"topics": ["devices/telemetry"]}, "device_id"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_range(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stages.configure(**wrong)  # type: ignore[arg-type]


@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(["traceparent", "seqref", "tracestate", "baggage"]), st.text(max_size=80)), max_size=4
    ),
)
def test_no_message_makes_extract_raise(payload: bytes, pairs: list[tuple[str, str]]) -> None:
    stages.extract(FakeMessage(payload=payload, properties=publish_properties(*pairs)))


def test_a_will_is_linked_to_and_never_the_parent() -> None:
    message = FakeMessage(properties=publish_properties(("traceparent", TRACEPARENT), ("tracestate", "mt=a:1;w:1,x=y")))
    incoming = read(message, Context())
    assert incoming.origin == "none:will"
    assert incoming.remote is not None
    assert f"{incoming.remote.trace_id:032x}" == TRACE_ID
    assert not get_current_span(incoming.context).get_span_context().is_valid
