"""When the broker is asked for word of itself, and what is made of the answer."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.mqtt import publish_packet, sys_topics
from motetrace_host.core.mqtt.sys_topics import SysTopics
from motetrace_host.shim.broker_watch import BrokerWatch
from tests.host.receive.packets import Publish

TOPICS = ("$SYS/a", "$SYS/b")


def test_it_is_due_at_once_and_then_every_so_often() -> None:
    watch = SysTopics(TOPICS, every_s=10)
    assert watch.due(100.0) == list(TOPICS)
    assert watch.due(109.9) == []
    assert watch.due(110.0) == list(TOPICS)
    assert watch.disconnected() == ""
    assert watch.due(110.1) == list(TOPICS), "a new connection is asked at once"


def test_nothing_to_watch_is_never_due() -> None:
    assert SysTopics().due(1.0) == []


def test_it_ends_when_all_is_refused_and_not_before() -> None:
    watch = SysTopics(TOPICS)
    watch.subscribed(7)
    assert not watch.is_reply(8)
    assert watch.is_reply(7)
    assert watch.replied(["Not authorized"]) == ""
    assert watch.due(0.0)
    watch.subscribed(9)
    assert watch.replied(["Not authorized", "Not authorized"]) == "Not authorized"
    assert watch.due(1_000.0) == []
    assert not watch.is_reply(0)


def test_a_connection_that_ends_by_itself_does_not_end_it() -> None:
    watch = SysTopics(TOPICS)
    for _ in range(5):
        watch.subscribed(1)
        assert watch.disconnected() == "", "asked, and gone"
        watch.subscribed(2)
        assert watch.replied([]) == "", "the next time it answers"
        assert watch.disconnected() == ""
    watch.subscribed(3)
    assert watch.disconnected() == ""
    watch.subscribed(4)
    assert "ends when it is asked" in watch.disconnected()
    assert watch.disconnected() == "", "it is told once"


@given(st.binary(max_size=40), st.integers(0x30, 0x3F))
def test_only_its_topics_at_qos_0_are_heard(body: bytes, first: int) -> None:
    watch = SysTopics(TOPICS)
    assert not watch.matches((first, body)) or body[2:8] in (b"$SYS/a", b"$SYS/b")
    for topic, qos in (("$SYS/a", 0), ("$SYS/a", 1), ("$SYS/ab", 0), ("$SYS/", 0), ("devices/$SYS/a", 0)):
        heard = watch.matches(Publish(topic, b"1", qos=qos, packet_id=1).frame)
        assert heard == ((topic, qos) == ("$SYS/a", 0))


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **fields: Any) -> None:
        assert event == "broker_queue"

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def test_drops_are_told_with_the_remedy_at_most_once_a_minute_and_counted() -> None:
    log, now = Log(), [0.0]
    watch = BrokerWatch(log, lambda: now[0])

    def say(value: bytes) -> None:
        watch.receive(publish_packet.read(*Publish(sys_topics.DROPPED, value, qos=0).frame))

    for value in (b"17", b"17", b"20", b"25"):
        now[0] += 1
        say(value)
    assert [fields["dropped"] for _, fields in log.lines] == [3]
    assert "max_queued_messages" in log.lines[0][1]["remedy"]
    now[0] += 60
    say(b"25")
    assert [fields["dropped"] for _, fields in log.lines] == [3, 5], "what came within the minute is told after it"
    assert watch.dropped == 8


def test_a_value_that_is_no_number_is_told_once_and_passed_over() -> None:
    log = Log()
    watch = BrokerWatch(log)
    for value in (b"many", b"more", b"5", b"6"):
        watch.receive(publish_packet.read(*Publish(sys_topics.DROPPED, value, qos=0).frame))
    assert [event for event, _ in log.lines] == ["broker_queue_unreadable", "broker_dropped_messages"]
    assert watch.dropped == 1
