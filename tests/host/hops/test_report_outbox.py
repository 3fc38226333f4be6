"""Reports reach the other side exactly as counted, whatever the client in between does."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.hop_report import HopReport
from motetrace_host.shim.hop_reports import HopReports
from motetrace_host.stages.hop_tally import HopTally
from motetrace_host.stages.report_outbox import RESEND_AFTER_S, WINDOW, ReportOutbox
from tests.host.hops.test_hop_tally import sure

PROCESS = bytes(range(8))
TOPIC = "motetrace/rule-engine/seen"


@dataclass
class Receipt:
    state: str = "waiting"

    def is_published(self) -> bool:
        if self.state == "refused":
            raise RuntimeError("not authorized")
        return self.state == "arrived"


@dataclass
class Client:
    """Takes reports; what it does with each is the test's to say."""

    sent: list[tuple[HopReport, Receipt]] = field(default_factory=list)
    broken: str = ""
    state: str = "waiting"

    def publish(self, topic: str, payload: bytes) -> Receipt:
        assert topic == TOPIC
        if self.broken:
            raise ConnectionError(self.broken)
        self.sent.append((hop_report.parse(payload), Receipt(self.state)))
        return self.sent[-1][1]

    @property
    def numbers(self) -> list[int]:
        return [report.number for report, _ in self.sent]


def filled(messages: int = 3) -> ReportOutbox:
    outbox = ReportOutbox(TOPIC, PROCESS)
    tally = HopTally()
    for seq in range(messages):
        tally.count("rule", "seen", sure(seq + 1))
    outbox.fill(tally.drain())
    return outbox


def test_a_report_is_kept_until_it_has_arrived_and_sent_once() -> None:
    client, outbox = Client(), filled()
    outbox.send(client.publish, 0.0)
    outbox.send(client.publish, 5.0)
    assert client.numbers == [1] and not outbox.is_empty
    client.sent[0][1].state = "arrived"
    outbox.send(client.publish, 10.0)
    assert client.numbers == [1] and outbox.is_empty


def test_a_publish_that_raises_keeps_the_report_and_its_number() -> None:
    client, outbox = Client(broken="not connected"), filled()
    outbox.send(client.publish, 0.0)
    client.broken, client.state = "", "arrived"
    outbox.send(client.publish, 5.0)
    assert client.numbers == [1] and outbox.is_empty
    assert client.sent[0][0].outcomes == {"seen": {b"\1" * 5: ((1, 3),)}}


def test_a_report_that_is_refused_is_sent_again_with_its_number_once_per_call() -> None:
    client, outbox = Client(state="refused"), filled()
    outbox.send(client.publish, 0.0)  # refused at once
    outbox.send(client.publish, 5.0)
    assert client.numbers == [1, 1]
    client.state = "waiting"
    outbox.send(client.publish, 10.0)
    client.sent[-1][1].state = "refused"  # refused later
    outbox.send(client.publish, 15.0)
    assert client.numbers == [1, 1, 1, 1] and not outbox.is_empty


def test_a_client_that_says_nothing_gets_it_again_after_one_minute_then_two() -> None:
    client, outbox = Client(), filled()
    for now_s in range(0, 400, 5):
        outbox.send(client.publish, now_s)
    assert client.numbers == [1, 1, 1]  # at 0, 60 and 180 s; next at 420
    assert RESEND_AFTER_S == 60


def test_a_function_that_returns_has_delivered() -> None:
    taken: list[bytes] = []
    outbox = filled()
    outbox.send(lambda _topic, payload: taken.append(payload), 0.0)
    assert outbox.is_empty and len(taken) == 1


def test_no_more_than_a_window_is_under_way_and_all_of_it_goes() -> None:
    outbox = ReportOutbox(TOPIC, PROCESS)
    tally = HopTally()
    for boot in range(40_000):
        tally.count("rule", "seen", sure(4_000_000_000, boot.to_bytes(5, "big")))
    outbox.fill(tally.drain())
    client = Client()
    outbox.send(client.publish, 0.0)
    assert client.numbers == list(range(1, WINDOW + 1))
    for _, receipt in client.sent[1:]:
        receipt.state = "arrived"
    outbox.send(client.publish, 1.0)
    assert len(client.numbers) == WINDOW  # the first holds the window
    client.state = client.sent[0][1].state = "arrived"
    outbox.send(client.publish, 2.0)
    assert outbox.is_empty
    assert sorted(client.numbers) == list(range(1, len(client.numbers) + 1)) and len(client.numbers) > WINDOW
    assert sum(len(report.outcomes["seen"]) for report, _ in client.sent) == 40_000


def test_another_client_gets_what_had_not_arrived_with_its_old_number() -> None:
    first, second, outbox = Client(), Client(state="arrived"), filled()
    outbox.send(first.publish, 0.0)
    outbox.start_over()
    outbox.send(second.publish, 1.0)
    assert first.numbers == second.numbers == [1] and outbox.is_empty


def test_messages_without_a_number_alone_are_a_report_too() -> None:
    tally, outbox, client = HopTally(), ReportOutbox(TOPIC, PROCESS), Client()
    tally.count("db", "seen", None)
    outbox.fill(tally.drain())
    outbox.send(client.publish, 0.0)
    assert [(report.hop, report.unnumbered, report.outcomes) for report, _ in client.sent] == [("db", 1, {})]


def test_it_warns_once_when_reports_do_not_arrive_and_says_when_they_do_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "motetrace")
    client, outbox = Client(broken="not connected to 127.0.0.1:1883"), filled()
    outbox.send(client.publish, 0.0)
    assert caplog.messages == []  # connecting takes a moment
    for now_s in (12.0, 20.0, 30.0):
        outbox.send(client.publish, now_s)
    client.broken, client.state = "", "arrived"
    outbox.send(client.publish, 40.0)
    first, second = caplog.messages
    assert "kept" in first and "not connected to 127.0.0.1:1883" in first and TOPIC in first
    assert "again" in second


actions = st.sampled_from(["count", "send", "break", "mend", "arrive", "arrive unheard", "refuse", "replace", "later"])


@given(st.lists(actions, max_size=60))
def test_the_shim_counts_each_message_once_whatever_happens_on_the_way(steps: list[str]) -> None:
    """Reports arrive, arrive unheard (and so again), are refused, or get lost with a client that is replaced."""
    tally, outbox, client, shim = HopTally(), ReportOutbox(TOPIC, PROCESS), Client(), HopReports("motetrace/")
    seq, now_s = 0, 0.0
    got: list[HopReport] = []

    def deliver(at: int, heard: bool) -> None:
        if at < len(client.sent):
            report, receipt = client.sent[at]
            if receipt.state == "waiting":
                got.append(report)
                packet = PublishPacket(TOPIC, 1, 1, False, False, hop_report.format(report))
                shim.receive("rule-engine", packet, 1_795_000_000_000_000_000)
                receipt.state = "arrived" if heard else "waiting"

    def act(step: str) -> None:
        nonlocal seq, now_s, client
        if step == "count":
            seq += 1
            tally.count("rule", "seen", sure(seq))
        elif step == "send":
            outbox.send(client.publish, now_s)
            if outbox.is_empty:
                outbox.fill(tally.drain())
                outbox.send(client.publish, now_s)
        elif step in ("break", "mend"):
            client.broken = "broken" if step == "break" else ""
        elif step == "refuse":
            for _, receipt in client.sent:
                receipt.state = "refused" if receipt.state == "waiting" else receipt.state
        elif step == "replace":
            client = Client()
            outbox.start_over()
        elif step == "later":
            now_s += 100
        else:
            for at in range(len(client.sent)):
                deliver(at, step == "arrive")

    for step in steps:
        act(step)
    for step in ["replace", "send", "arrive", "send", "arrive", "send", "arrive", "send"]:
        act(step)
    assert outbox.is_empty
    counted: list[int] = []
    for seen in shim.runs():
        counted += [number for start, end in seen.runs for number in range(start, end + 1)]
    assert sorted(counted) == list(range(1, seq + 1))
    assert shim.repeated == len(got) - len({report.number for report in got})


def test_nothing_that_a_client_raises_reaches_the_caller() -> None:
    def publish(_topic: str, _payload: bytes) -> Any:
        raise ValueError

    outbox = filled()
    outbox.send(publish, 0.0)
    assert not outbox.is_empty
