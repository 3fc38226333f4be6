"""An instrumented paho behaves like paho: results, exceptions, callbacks, properties; and it comes off whole."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider, StatusCode, get_current_span
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from motetrace_host.otel.paho_instrumentor import Patch
from motetrace_host.stages import settings
from tests.host.stages.stage_recorder import TRACEPARENT, Recorder, publish_properties

Instrument = Callable[..., Any]
TOPIC = "devices/sensor-0042/telemetry"


def client(**options: Any) -> Client:
    return Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5, **options)


def message(topic: bytes = TOPIC.encode(), payload: bytes = b"{}", **more: Any) -> MQTTMessage:
    made = MQTTMessage(topic=topic)
    made.payload = payload
    made.properties = publish_properties(("traceparent", TRACEPARENT))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def queued(of: Client) -> MQTTMessage:
    """The message that a publish at QoS 1 without a connection left in paho's queue."""
    (kept,) = of._out_messages.values()
    return kept


@pytest.mark.parametrize("name", ["publish", "will_set"])
def test_the_methods_keep_their_signatures_and_documentation(instrument: Instrument, name: str) -> None:
    before = getattr(Client, name)
    instrument()
    after = getattr(Client, name)
    assert after is not before
    assert inspect.signature(after) == inspect.signature(before)
    assert (after.__doc__, after.__qualname__) == (before.__doc__, before.__qualname__)


def test_uninstrumenting_restores_the_class_the_callbacks_and_the_settings(
    instrument: Instrument, recorder: Recorder
) -> None:
    before, config = dict(vars(Client)), settings.current()
    seen: list[bool] = []
    one = client()
    one.on_message = lambda *_: seen.append(get_current_span().get_span_context().is_valid)
    callback = one.on_message
    instrumentor = instrument(topics=["plant/{device_id}/x"])
    assert settings.current().device_of("plant/d1/x") == ("d1", "plant/{device_id}/x")
    assert one.on_message is callback
    one._handle_on_message(message())
    instrumentor.uninstrument()
    assert dict(vars(Client)) == before
    assert settings.current() == config
    one._handle_on_message(message())
    assert seen == [True, False]  # registered before it, traced during it, plain after it
    assert len(recorder.spans) == 1


def test_a_wrapper_put_on_later_by_others_stays_and_ours_only_calls_through() -> None:
    class Owner:
        def act(self, x: int) -> int:
            return x

    patch = Patch(Owner, "act", lambda original, *args: original(*args) + 100)
    ours = Owner.act
    Owner.act = lambda self, x: ours(self, x) + 1000  # type: ignore[method-assign]
    assert Owner().act(1) == 1101
    patch.remove()
    assert Owner().act(1) == 1001


def test_every_matching_callback_runs_once_in_pahos_order_with_the_true_client(
    instrument: Instrument, recorder: Recorder
) -> None:
    instrument()
    one, calls = client(userdata="mine"), []

    def filtered(*args: Any) -> None:
        calls.append(("filtered", *args))

    one.message_callback_add("devices/+/telemetry", filtered)
    one.message_callback_add("devices/#", lambda *args: calls.append(("all", *args)))
    one.on_message = lambda *args: calls.append(("on_message", *args))
    first, other = message(), message(topic=b"other")
    one._handle_on_message(first)
    one._handle_on_message(other)
    assert sorted(call[0] for call in calls[:2]) == ["all", "filtered"]
    assert calls[2][0] == "on_message"
    assert [call[1:] for call in calls] == [(one, "mine", first)] * 2 + [(one, "mine", other)]
    assert all(call[1] is one for call in calls)
    assert len(recorder.spans) == 3
    one.message_callback_remove("devices/+/telemetry")
    one._handle_on_message(message())
    assert [call[0] for call in calls[3:]] == ["all"]


def test_a_method_of_a_subclass_is_traced_and_no_callback_is_no_span(
    instrument: Instrument, recorder: Recorder
) -> None:
    class Engine(Client):
        got = 0

        def on_message(self, _client: Client, _userdata: Any, _message: MQTTMessage) -> None:
            self.got += 1

    instrument()
    engine = Engine(CallbackAPIVersion.VERSION2)
    engine._handle_on_message(message())
    client()._handle_on_message(message())
    assert engine.got == 1
    assert recorder.only.attributes is not None
    assert str(recorder.only.attributes["code.function.name"]).endswith("Engine.on_message")


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("suppress", [True, False])
def test_an_exception_is_recorded_and_goes_where_paho_lets_it_go(
    instrument: Instrument, recorder: Recorder, filtered: bool, suppress: bool
) -> None:
    instrument()
    one, logged = client(), []
    one.suppress_exceptions = suppress
    one.on_log = lambda *args: logged.append(args[3])

    def broken(*_: Any) -> None:
        raise KeyError("temp")

    if filtered:
        one.message_callback_add("#", broken)
    else:
        one.on_message = broken
    if suppress:
        one._handle_on_message(message())
    else:
        with pytest.raises(KeyError, match="temp"):
            one._handle_on_message(message())
    assert len(logged) == 1 and "Caught exception" in logged[0] and ("broken" in logged[0]) == filtered
    span = recorder.only
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None and span.attributes["error.type"] == "KeyError"
    assert [event.name for event in span.events] == ["exception"]
    assert not get_current_span().get_span_context().is_valid


def test_the_callbacks_thread_and_the_callers_context_are_as_without_us(
    instrument: Instrument, recorder: Recorder
) -> None:
    instrument()
    one, threads = client(), []
    one.on_message = lambda *_: threads.append(threading.current_thread())
    with recorder.tracer.start_as_current_span("main loop") as outer:
        one._handle_on_message(message())
        assert get_current_span() is outer
    assert threads == [threading.current_thread()]
    processed = recorder.spans[0]
    assert processed.parent is not None and f"{processed.parent.trace_id:032x}" in TRACEPARENT


def test_publish_returns_and_raises_what_paho_does(instrument: Instrument, recorder: Recorder) -> None:
    plain = client().publish("a", b"x", 1)
    instrument()
    one = client()
    info = one.publish("a", b"x", 1)
    assert (type(info), info.rc, info.mid) == (type(plain), plain.rc, 1)
    assert (
        one.publish(topic="a", payload=b"x", qos=0, retain=False, properties=None).rc == MQTTErrorCode.MQTT_ERR_NO_CONN
    )
    refusals: list[tuple[type[BaseException], tuple[Any, ...]]] = [
        (ValueError, ("a/+", b"x")),
        (ValueError, ("a", b"x", 3)),
        (TypeError, ("a", object())),
        (AttributeError, (None, b"x")),
    ]
    for kind, args in refusals:
        with pytest.raises(kind):
            one.publish(*args)
    kept, lost, *refused = recorder.spans
    assert kept.status.status_code is StatusCode.UNSET
    assert lost.attributes is not None and lost.attributes["error.type"] == "MQTT_ERR_NO_CONN"
    assert [span.status.status_code for span in (lost, *refused)] == [StatusCode.ERROR] * 5
    assert [span.events[0].name for span in refused] == ["exception"] * 4


def test_the_programs_properties_object_stays_untouched_and_goes_out_whole(instrument: Instrument) -> None:
    instrument()
    one, properties = client(), publish_properties(("unit", "C"), ("unit", "K"))
    properties.MessageExpiryInterval = 60
    before = dict(vars(properties))
    one.publish("a", b"x", 1, properties=properties)
    assert dict(vars(properties)) == before
    assert properties.UserProperty == [("unit", "C"), ("unit", "K")]
    sent = queued(one).properties
    assert sent is not None and sent.MessageExpiryInterval == 60
    assert [name for name, _ in sent.UserProperty] == ["unit", "unit", "traceparent"]
    unpacked = Properties(PacketTypes.PUBLISH)
    unpacked.unpack(sent.pack())
    assert unpacked.UserProperty == sent.UserProperty


def test_nothing_is_injected_and_no_span_is_made_while_suppressed(instrument: Instrument, recorder: Recorder) -> None:
    instrument()
    one = client()
    with suppress_instrumentation():
        one.publish("a", b"x", 1)
        one.on_message = lambda *_: None
        one._handle_on_message(message())
    assert queued(one).properties is None
    assert recorder.spans == ()


def test_without_an_sdk_what_a_program_hands_on_by_itself_still_passes(instrument: Instrument) -> None:
    instrumentor = instrument()
    instrumentor.uninstrument()
    instrumentor.instrument(tracer_provider=NoOpTracerProvider())
    one = client()
    one.publish("a", b"x", 1, properties=publish_properties(("traceparent", TRACEPARENT), ("unit", "C")))
    assert dict(queued(one).properties.UserProperty) == {"unit": "C", "traceparent": TRACEPARENT}


class Broken(TracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> Any:
        class Tracer:
            def start_span(self, *_: Any, **__: Any) -> Any:
                raise RuntimeError("no spans today")

        return Tracer()


def test_a_broken_sdk_costs_the_span_and_never_the_message(
    instrument: Instrument, caplog: pytest.LogCaptureFixture
) -> None:
    instrumentor = instrument()
    instrumentor.uninstrument()
    instrumentor.instrument(tracer_provider=Broken())
    one, got = client(), []
    one.on_message = lambda *args: got.append(args[2])
    with caplog.at_level(logging.ERROR, "motetrace"):
        assert one.publish("a", b"x", 1).rc == MQTTErrorCode.MQTT_ERR_NO_CONN
        one.will_set("a", b"gone")
        one._handle_on_message(message())
    assert queued(one).payload == b"x" and one.will_payload == b"gone" and len(got) == 1
    assert len(caplog.records) == 3 and "no spans today" in caplog.text


def test_hostile_messages_reach_the_callback(instrument: Instrument, recorder: Recorder) -> None:
    instrument(payload_member=True)
    one, got = client(), []
    one.on_message = lambda *args: got.append(args[2])
    for hostile in (
        message(topic=b"\xff\xfe"),
        message(payload=b'{"traceparent":' + b"[" * 5000),
        message(properties=publish_properties(("traceparent", "\x1b[2J" * 500), ("baggage", "%" * 9000))),
        message(properties=publish_properties(("tracestate", ",=" * 4000), ("traceparent", TRACEPARENT))),
        message(payload=b'{"traceparent":7}', properties=None),
    ):
        one._handle_on_message(hostile)
    assert len(got) == len(recorder.spans) == 5
    origins = [span.attributes["trace.origin"] for span in recorder.spans if span.attributes is not None]
    assert origins == ["traceparent", "traceparent", "none:traceparent_length", "traceparent", "none:traceparent_type"]
