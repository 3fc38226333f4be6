"""What only one client does, and what its adapter makes of it."""

import pytest
from services import Mosquitto

from motetrace_host.core.wire import json_members
from tests.clients.backlog import frozen
from tests.clients.devices import CASES, Case, device
from tests.clients.test_contract import seq_of, taken_apart
from tests.device.interpreters import MICROPYTHONS
from tests.device.session import DeviceError
from tests.device.subscriber import Subscriber

TOPIC = b"devices/d/telemetry"


def cases(client: str, *carriers: str) -> pytest.MarkDecorator:
    """The adapter of one client, with some carriers or all."""
    chosen = [case for case in CASES if case.client == client and (not carriers or case.carrier in carriers)]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=str)


@cases("robust2")
@pytest.mark.parametrize("qos", [0, 1])
def test_robust2_queues_offline_messages_with_the_seq_they_were_given(
    mosquitto: Mosquitto, case: Case, qos: int
) -> None:
    with device(case, mosquitto) as session:
        mosquitto.kill()
        session.run("buffer = bytearray(b'{\"n\":0}')")
        for number in range(1, 5):
            session.run(f"buffer[5] = 48 + {number}\nd.publish(bytearray({TOPIC!r}), memoryview(buffer), False, {qos})")
        # The first one or two may have gone into a dead connection before the client knew; what it knows it keeps.
        queued = session.ask("len(d.client.msg_to_send)")
        assert queued >= 2
        mosquitto.start()
        with Subscriber(mosquitto.host, mosquitto.port) as host:
            session.run("d.client.reconnect()\nd.client.send_queue()")
            for message in host.take(queued):
                text, rest = taken_apart(case, message)
                assert rest == b'{"n":%d}' % seq_of(text)
            session.run(f"d.deliver({TOPIC!r}, buffer)")
            (message,) = host.take(1)
            while seq_of(taken_apart(case, message)[0]) < 5:  # unacknowledged ones once more
                (message,) = host.take(1)
            assert session.ask("d.tracer.seq()") == 5


@cases("robust2", "member")
def test_robust2_sends_equal_readings_as_the_messages_they_are(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run(f"for _ in range(4): d.client.publish({TOPIC!r}, b'{{}}', False, 1)\nd.settle()")
        assert [seq_of(taken_apart(case, message)[0]) for message in host.take(4)] == [1, 2, 3, 4]
        assert session.ask("len(d.client.msg_to_confirm)") == 0


@cases("robust", "member")
def test_robust_counts_a_payload_that_is_left_alone_once_however_often_it_is_sent(
    mosquitto: Mosquitto, case: Case
) -> None:
    with device(case, mosquitto) as session:
        mosquitto.restart()
        session.run(f"d.publish({TOPIC!r}, b'[1]', False, 1)")
        assert session.ask("d.sent_again") > 0
        assert session.ask("[d.left_alone(), d.tracer.seq()]") == [1, 0]


@cases("robust", "member")
def test_robust_raises_what_is_no_error_of_the_connection_and_goes_on(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        with pytest.raises(DeviceError) as raised:
            session.run(f"d.publish({TOPIC!r}, b'{{}}', False, 2)")
        assert raised.value.name == "AssertionError"
        session.run(f"d.client.reconnect()\nd.publish({TOPIC!r}, b'{{}}', False, 1)\nd.turn()")
        assert {message.qos for message in host.take(1)} <= {1, 2}
        assert session.ask("[d.tracer.seq(), d.client._sending]") == [1, False]


@cases("mqtt_as")
def test_mqtt_as_gives_every_one_of_many_waiting_messages_a_context_of_its_own(
    mosquitto: Mosquitto, case: Case
) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run("import asyncio\nasync def all(): await asyncio.gather(*[d.client.publish(*one) for one in many])")
        session.run(f"many = [({TOPIC!r}, b'{{\"n\":%d}}' % n, False, n % 2) for n in range(1, 21)]")
        with frozen(mosquitto):
            session.begin("d.run(all())")
        session.finish()
        seen = {}
        while len(seen) < 20:
            text, rest = taken_apart(case, host.take(1)[0])
            assert rest == b'{"n":%d}' % seq_of(text)
            seen[seq_of(text)] = text
        assert set(seen) == set(range(1, 21))


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
def test_mqtt_as_leaves_other_properties_and_the_users_dict_as_they_are(mosquitto: Mosquitto, interpreter: str) -> None:
    case = Case(interpreter, "mqtt_as", "property")
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run("p = {2: 3600}\nd.run(d.client.publish(b'a', b'x', False, 1, p))")
        (message,) = host.take(1)
        assert message.expiry_s is not None and 3590 < message.expiry_s <= 3600
        assert seq_of(taken_apart(case, message)[0]) == 1
        assert session.ask("list(p.items())") == [[2, 3600]]


@pytest.mark.parametrize("interpreter", MICROPYTHONS)
def test_mqtt_as_never_displaces_a_user_property_of_the_application(mosquitto: Mosquitto, interpreter: str) -> None:
    case = Case(interpreter, "mqtt_as", "property")
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        publish = "d.run(d.client.publish(b'a', b'{\"n\":1}', False, 1, {0x26: {'mine': '1'}}))"
        session.run(publish)
        (message,) = host.take(1)
        assert (message.user_properties, message.payload) == ([("mine", "1")], b'{"n":1}')
        assert session.ask("[d.client.left_alone, d.tracer.seq()]") == [1, 0]
        session.run(f"from motetrace.payload import Member\nd.client.carrier = Member(d.tracer)\n{publish}")
        (message,) = host.take(1)
        assert message.user_properties == [("mine", "1")]
        assert b"00000001-03" in message.payload
        assert json_members.strip(message.payload) == b'{"n":1}'


@cases("simple")
def test_simple_publishes_a_failed_message_again_under_its_seq_when_told_so(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        publish = f"d.publish({TOPIC!r}, b'{{}}', False, 1)"
        session.run(f"{publish}\nd.carrier.again = True\n{publish}\n{publish}")
        first, second, third = host.take(3)
        assert first == second
        assert seq_of(taken_apart(case, third)[0]) == 2


SLOW = """
class Slow:
    def __init__(self, sock): self.sock = sock
    def __getattr__(self, name): return getattr(self.sock, name)
    def write(self, buf, at, n): return self.sock.write(buf, at, min(n, 3))
d.client.sock = Slow(d.client.sock)
"""


@cases("simple")
def test_simple_writes_a_packet_to_its_end_three_bytes_at_a_time(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run(SLOW)
        for qos in (0, 1):
            session.run(f"d.publish({TOPIC!r}, b'{{\"text\":\"' + b'x' * 500 + b'\"}}', False, {qos})")
            (message,) = host.take(1)
            assert taken_apart(case, message)[1] == b'{"text":"' + b"x" * 500 + b'"}'


@cases("simple")
def test_simple_goes_on_after_packet_id_65535(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run("d.client.pid = 65533")
        for _ in range(4):
            session.run(f"d.publish({TOPIC!r}, b'{{}}', False, 1)")
        assert [seq_of(taken_apart(case, message)[0]) for message in host.take(4)] == [1, 2, 3, 4]
        assert session.ask("d.client.pid") == 2


@cases("simple", "member")
def test_simple_refuses_what_the_client_refuses_in_the_clients_words(mosquitto: Mosquitto, case: Case) -> None:
    with device(case, mosquitto) as session:
        for call in ("publish(b'a', b'{}', False, 2)", "publish(b'a', None)", "publish(b'a', 21.5)"):
            raised = []
            for client in ("d.client", "d.plain"):
                session.run("d.client.connect(); d.plain.connect()")
                with pytest.raises(DeviceError) as caught:
                    session.run(f"{client}.{call}")
                raised.append(caught.value.name)
            assert raised[0] == raised[1]


@cases("simple", "member")
def test_a_callback_that_publishes_while_simple_waits_for_its_puback_does_no_harm(
    mosquitto: Mosquitto, case: Case
) -> None:
    with Subscriber(mosquitto.host, mosquitto.port, "answer") as host, device(case, mosquitto) as session:
        session.run("d.client.set_callback(lambda topic, msg: d.client.publish(b'answer', msg))")
        session.run("d.client.subscribe(b'ask')")
        # The client is its own subscriber: the message comes back before or after the PUBACK.
        session.run("for n in range(5): d.client.publish(b'ask', b'{\"n\":%d}' % n, False, 1)")
        session.run("d.until(lambda: d.tracer.seq() >= 10)")
        assert len(host.take(5)) == 5


@cases("minimqtt", "member")
def test_minimqtt_takes_numbers_as_before_and_calls_on_publish(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run("said = []\nd.client.on_publish = lambda client, data, topic, pid: said.append([topic, pid])")
        session.run(
            "d.client.publish('a', 21.5)\nd.client.publish('a', 7, qos=1)\nd.client.publish('a', '{}', True, 1)"
        )
        assert [message.payload for message in host.take(2)] == [b"21.5", b"7"]
        assert seq_of(taken_apart(case, host.take(1)[0])[0]) == 1
        assert session.ask("said") == [["a", 0], ["a", 1], ["a", 2]]
        assert session.ask("d.left_alone()") == 2


@cases("minimqtt", "member")
def test_minimqtt_refuses_what_the_client_refuses_in_the_clients_words(mosquitto: Mosquitto, case: Case) -> None:
    with device(case, mosquitto) as session:
        for call in ("publish(None, '{}')", "publish('a', None)", "publish('a/#', '{}')", "publish('', '{}')"):
            raised = []
            for client in ("d.client", "d.plain"):
                session.run("d.plain.is_connected() or d.plain.connect(session_id='plain')")
                with pytest.raises(DeviceError) as caught:
                    session.run(f"{client}.{call}")
                raised.append((caught.value.name, str(caught.value)))
            assert raised[0] == raised[1]


@cases("minimqtt", "member")
def test_minimqtt_topic_callbacks_are_called_as_before(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port, "nothing") as host, device(case, mosquitto) as session:
        session.run("seen = []\nd.client.add_topic_callback('one/+', lambda *args: seen.append(list(args[1:])))")
        session.run("d.client.subscribe([('one/#', 1), ('two/#', 0)])")
        host.publish("one/a", b"1", [])
        host.publish("two/b", b"2", [])
        session.run("d.until_got(1)\nd.until(lambda: seen)")
        assert session.ask("[seen, d.got]") == [[["one/a", "1"]], [["two/b", "2"]]]


WITHOUT = [
    ("simple", "member"),
    ("robust", "member"),
    ("robust2", "member"),
    ("mqtt_as", "member"),
    ("minimqtt", "member"),
]


@pytest.mark.parametrize("case", [case for case in CASES if (case.client, case.carrier) in WITHOUT], ids=str)
def test_without_a_carrier_a_client_publishes_as_before(mosquitto: Mosquitto, case: Case) -> None:
    with Subscriber(mosquitto.host, mosquitto.port) as host, device(case, mosquitto) as session:
        session.run("d.client.carrier = None")
        session.run("for qos in (0, 1): d.publish('a', b'{}', False, qos)")
        assert [message.payload for message in host.take(2)] == [b"{}", b"{}"]
        assert session.ask("d.tracer.seq()") == 0
