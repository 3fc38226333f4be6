"""One contract for every MQTT client and every carrier, through a real mosquitto (docs/clients.md).

mqtt_as stands here as a double that encodes as it does (doubles/mqtt_as.py): it is in no package index.
"""

import pytest
from services import Mosquitto

from motetrace_host.core.wire import binary_trailer, context, json_members, traceparent
from motetrace_host.core.wire.traceparent import TraceParent
from tests.clients.backlog import frozen, unread_bytes, wait_until_unread
from tests.clients.devices import CASES, Case, device
from tests.device.session import Session
from tests.device.subscriber import Arrived, Subscriber
from tests.seqref_text import format_seqref

MODES = ("traceparent", "seqref")
TOPIC = b"devices/d/telemetry"
JSON = b'{ "temp" : 21.50,\n"ort":"K\xc3\xbchlhaus" }'
BINARY = b"\x00\xff\xf5\x4d\x01 21.5"
BIG = 200_000

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_mode = pytest.mark.parametrize("mode", MODES)


def sample(case: Case) -> bytes:
    """A payload that this carrier can add to."""
    return JSON if case.carrier == "member" else BINARY


def taken_apart(case: Case, message: Arrived) -> tuple[str, bytes]:
    """The context as text and the payload without it, by the host's own readers."""
    if case.carrier == "trailer":
        found = binary_trailer.parse(message.payload)
        assert found is not None, message.payload
        inside = found.context
        text = traceparent.format(inside) if isinstance(inside, TraceParent) else format_seqref(inside)
        return text, binary_trailer.strip(message.payload)
    if case.carrier == "property":
        ((_, text),) = message.user_properties
        return text, message.payload
    found = context.read(message.user_properties, message.payload)
    assert found.faults == ()
    rest = json_members.strip(message.payload)
    start = message.payload.index(b'":"') + 3
    return message.payload[start : message.payload.index(b'"', start)].decode(), rest


def seq_of(text: str) -> int:
    return int(text[13:21] if len(text) == 55 else text[11:19], 16)


def last_context(session: Session) -> str:
    return session.ask("d.tracer._short").decode()


@every_case
@every_mode
def test_the_context_arrives_byte_for_byte_and_the_payload_too(mosquitto: Mosquitto, case: Case, mode: str) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto, mode) as session:
        for seq in range(1, 7):
            kind = ("bytes", "bytearray", "memoryview")[seq % 3]
            session.run(f"d.publish({TOPIC!r}, {kind}({sample(case)!r}), False, {seq % 2})")
            (message,) = host.take(1)
            text, rest = taken_apart(case, message)
            assert text == last_context(session)
            assert seq_of(text) == seq
            assert rest == sample(case)
            assert (message.topic, message.qos, message.retain) == (TOPIC, seq % 2, False)


@every_case
def test_topic_and_payload_may_be_text_or_any_bytes_beyond_ascii(mosquitto: Mosquitto, case: Case) -> None:
    topic, text = "geräte/温度/🌡", '{"ort":"Kühlhaus 🧊"}'
    kinds = [repr(topic)] + [f"{kind}({topic.encode()!r})" for kind in ("bytes", "bytearray", "memoryview")]
    payloads = [repr(text)] + [f"{kind}({text.encode()!r})" for kind in ("bytes", "bytearray", "memoryview")]
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        for qos in (0, 1):
            for a, b in zip(kinds, payloads, strict=True):
                session.run(f"d.publish({a}, {b}, False, {qos})")
                (message,) = host.take(1)
                assert message.topic == topic.encode()
                assert taken_apart(case, message) == (last_context(session), text.encode())


@pytest.mark.parametrize("case", [case for case in CASES if case.carrier != "property"], ids=str)
def test_what_cannot_carry_a_context_arrives_as_it_was_and_is_counted(mosquitto: Mosquitto, case: Case) -> None:
    alone = [b"", b"21.5", "Grüße".encode(), b"[1,2]", b"\x00\xff"] if case.carrier == "member" else [b""]
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        for one in alone:
            for kind in ("bytes", "bytearray", "memoryview"):
                session.run(f"d.publish({TOPIC!r}, {kind}({one!r}), False, 1)")
                (message,) = host.take(1)
                assert message.payload == one
        assert session.ask("[d.left_alone(), d.tracer.seq()]") == [3 * len(alone), 0]


@every_case
def test_a_retained_message_is_retained(mosquitto: Mosquitto, case: Case) -> None:
    with device(case, mosquitto) as session:
        session.run(f"d.publish({TOPIC!r}, {sample(case)!r}, True, 1)\nd.settle()")
        sent = last_context(session)
        with Subscriber(mosquitto.host, mosquitto.port) as later:
            (message,) = later.take(1)
    assert message.retain
    assert taken_apart(case, message)[0] == sent


@every_case
def test_the_users_callback_is_called_as_before(mosquitto: Mosquitto, case: Case) -> None:
    back: list[object] = [b"back/1", b"\xc3\xa4{}"]
    back += {"simple": [], "robust": [], "minimqtt": [], "mqtt_as": [False]}.get(case.client, [False, False])
    if case.client == "minimqtt":
        back = ["back/1", "ä{}"]
    if (case.client, case.carrier) == ("mqtt_as", "property"):
        back.append(None)
    with Subscriber(mosquitto.host, mosquitto.port, "nothing") as host, device(case, mosquitto) as session:
        session.run(f"d.subscribe({'back/#' if case.client == 'minimqtt' else b'back/#'!r})\nd.settle()")
        session.run(f"d.publish({TOPIC!r}, {sample(case)!r}, False, 1)")
        host.publish("back/1", "ä{}".encode(), [])
        session.run("d.until_got(1)")
        assert session.ask("d.got") == [back]


@every_case
def test_a_packet_that_the_socket_takes_in_parts_arrives_whole(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run(f"big = b'{{\"text\":\"' + bytes(97 + i % 26 for i in range({BIG})) + b'\"}}'\nd.narrow()")
        with frozen(mosquitto):
            session.begin("d.deliver('big', big)")
            wait_until_unread(mosquitto.port, 30_000)
            assert unread_bytes(mosquitto.port) < BIG
        session.finish()
        contents = session.ask("big")
        (message,) = host.take(1)
        assert taken_apart(case, message) == (last_context(session), contents)
        session.run(f"d.deliver({TOPIC!r}, {sample(case)!r})")
        assert seq_of(taken_apart(case, next_other(host, message))[0]) == 2


def next_other(host: Subscriber, before: Arrived) -> Arrived:
    """The next message that is not the one before once more: a client may have sent that twice meanwhile."""
    while True:
        (message,) = host.take(1)
        if message != before:
            return message


RETRYING = [case for case in CASES if case.client in ("simple2", "robust2", "mqtt_as")]


@pytest.mark.parametrize("case", RETRYING, ids=str)
@every_mode
def test_a_message_that_the_client_sends_again_keeps_its_seq(mosquitto: Mosquitto, case: Case, mode: str) -> None:
    large = b'{"text":"' + b"x" * 3000 + b'"}'  # many times what MQTT and the context add
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto, mode) as session:
        with frozen(mosquitto):
            session.begin(f"d.deliver({TOPIC!r}, {large!r})")
            wait_until_unread(mosquitto.port, 2 * len(large))
        session.finish()
        first, second = host.take(2)
        assert first == second
        assert taken_apart(case, first) == (last_context(session), large)
        session.run(f"d.deliver({TOPIC!r}, {sample(case)!r})")
        assert seq_of(taken_apart(case, next_other(host, first))[0]) == 2


@every_case
@every_mode
def test_a_message_in_whose_middle_the_broker_died_arrives_with_the_seq_it_was_given(
    mosquitto: Mosquitto, case: Case, mode: str
) -> None:
    with device(case, mosquitto, mode) as session:
        session.run(f"d.deliver({TOPIC!r}, {sample(case)!r})")
        session.run(f"big = b'{{\"text\":\"' + b'x' * {BIG} + b'\"}}'\nd.narrow()")
        with frozen(mosquitto):
            session.begin("d.deliver('big', big, True)")  # retained, so that who comes later sees it too
            wait_until_unread(mosquitto.port, 30_000)
            mosquitto.kill()
        mosquitto.start()
        session.finish()
        with Subscriber(mosquitto.host, mosquitto.port) as host:
            (big,) = host.take(1)
            assert (big.topic, big.retain) == (b"big", True)
            assert seq_of(taken_apart(case, big)[0]) == 2
            session.run(f"d.deliver({TOPIC!r}, {sample(case)!r})")
            (message,) = host.take(1)
            assert (message.topic, seq_of(taken_apart(case, message)[0])) == (TOPIC, 3)
        assert session.ask("d.tracer.seq()") == 3


@every_case
def test_after_a_restart_of_the_broker_publishing_goes_on(mosquitto: Mosquitto, case: Case) -> None:
    with device(case, mosquitto) as session:
        session.run(f"d.publish({TOPIC!r}, {sample(case)!r}, False, 1)")
        for seq in (2, 3):
            mosquitto.restart()
            with Subscriber(mosquitto.host, mosquitto.port) as host:
                session.run(f"d.deliver({TOPIC!r}, {sample(case)!r})")
                (message,) = host.take(1)
                assert seq_of(taken_apart(case, message)[0]) == seq
