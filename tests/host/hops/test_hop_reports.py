"""The side topic of the reports: each report once, also over a restart."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.hop_report import HopReport
from motetrace_host.shim import hop_reports
from motetrace_host.shim.hop_reports import REMEMBERED, HopReports
from motetrace_host.stages.report_outbox import WINDOW
from motetrace_host.storage import database, side_tables
from motetrace_host.storage.side_tables import HOP_SERVICES, ProcessReports

PROCESS = bytes(range(8))
NOW_NS = 1_795_000_000_000_000_000


def packet(number: int, process: bytes = PROCESS, unnumbered: int = 0, shed: int = 0) -> PublishPacket:
    report = HopReport("rule", process, number, {"seen": {b"12345": ((number, number),)}}, unnumbered, shed)
    return PublishPacket("", 1, 1, False, False, hop_report.format(report))


def numbers(side: HopReports) -> list[int]:
    return [seen.runs[0][0] for seen in side.runs()]


def commit(side: HopReports, connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    side.save(connection)
    connection.execute("COMMIT")
    side.committed()


def test_its_topic_names_the_reporter() -> None:
    side = HopReports("motetrace/")
    assert side.template.match("motetrace/rule-engine/seen") == "rule-engine"
    assert side.retained is False


def test_a_report_that_comes_again_is_counted_once() -> None:
    side = HopReports("motetrace/")
    for number in (1, 2, 1, 2, 3, 3):
        side.receive("rule-engine", packet(number), NOW_NS)
    assert numbers(side) == [1, 2, 3]
    assert side.repeated == 3


def test_processes_and_services_have_numbers_of_their_own() -> None:
    side = HopReports("motetrace/")
    side.receive("rule-engine", packet(1), NOW_NS)
    side.receive("rule-engine", packet(1, b"another!"), NOW_NS)
    side.receive("store-function", packet(1), NOW_NS)
    assert numbers(side) == [1, 1, 1]


@given(st.lists(st.integers(1, 200), max_size=60))
def test_numbers_in_any_order_count_once_each_within_what_is_remembered(sent: list[int]) -> None:
    side = HopReports("motetrace/")
    counted: list[int] = []
    for number in sent:
        if number not in counted and (not counted or number >= max(counted) - REMEMBERED):
            counted.append(number)
        side.receive("rule-engine", packet(number), NOW_NS)
    assert numbers(side) == counted
    assert side.repeated == len(sent) - len(counted)


def test_no_sender_is_further_behind_than_what_is_remembered() -> None:
    assert WINDOW <= REMEMBERED


@given(st.lists(st.tuples(st.integers(1, 90), st.sampled_from(["", "commit", "kill"])), max_size=40))
def test_after_a_kill_the_broker_repeats_and_nothing_counts_twice(steps: list[tuple[int, str]]) -> None:
    """What was not committed was not acknowledged, so it comes again; what was committed may come again too."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    database.create_tables(connection)
    side, unacknowledged, ledger, sent = HopReports("motetrace/"), [], [], set()
    for number, then in steps:
        if number < max(sent, default=0) - REMEMBERED:
            continue  # no sender is that far behind
        sent.add(number)
        side.receive("rule-engine", packet(number), NOW_NS)
        unacknowledged.append(number)
        if then == "kill":
            side = HopReports("motetrace/", side_tables.counted_reports(connection))
            for again in unacknowledged:
                side.receive("rule-engine", packet(again), NOW_NS)
        elif then == "commit":
            ledger += numbers(side)
            commit(side, connection)
            unacknowledged = unacknowledged[-2:]  # two acknowledgements were lost on the way
    ledger += numbers(side)
    assert sorted(ledger) == sorted(sent)
    connection.close()


def test_a_batch_that_was_rolled_back_is_given_again(connection: sqlite3.Connection) -> None:
    side = HopReports("motetrace/")
    side.receive("rule-engine", packet(1, unnumbered=2), NOW_NS)
    connection.execute("BEGIN")
    side.save(connection)
    connection.execute("ROLLBACK")
    assert numbers(side) == [1]
    commit(side, connection)
    assert numbers(side) == []
    assert side_tables.counted_reports(connection) == {
        ("rule-engine", PROCESS): ProcessReports("rule-engine", PROCESS, 1, 0, NOW_NS // 10**6)
    }
    assert uncounted(connection) == [("rule-engine", "rule", 2, 0)]


def uncounted(connection: sqlite3.Connection) -> list[tuple[str, str, int, int]]:
    rows = HOP_SERVICES.read(connection)
    return [(row.reporter, row.hop, row.unnumbered, row.shed) for row in rows if row.unnumbered or row.shed]


def test_what_could_not_be_counted_is_added_up_by_service_and_hop(connection: sqlite3.Connection) -> None:
    side = HopReports("motetrace/")
    for number in (1, 2):
        side.receive("rule-engine", packet(number, unnumbered=3, shed=1), NOW_NS)
        commit(side, connection)
    assert uncounted(connection) == [("rule-engine", "rule", 6, 2)]


def test_memory_and_table_hold_the_processes_heard_last(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop_reports, "MAX_PROCESSES", 3)
    side = HopReports("motetrace/")
    for process in (1, 2, 3, 1, 4, 5, 2):
        side.receive("rule-engine", packet(process, bytes([process]) * 8), NOW_NS + process * 10**6)
        if process == 4:
            commit(side, connection)
    commit(side, connection)
    assert {process[0] for _, process in side_tables.counted_reports(connection)} == {4, 5, 2}


def test_nobody_can_fill_the_table_with_names(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hop_reports, "MAX_REPORTERS", 2)
    side = HopReports("motetrace/")
    for name in "abcd":
        side.receive(name, packet(1, unnumbered=1), NOW_NS)
    commit(side, connection)
    assert uncounted(connection) == [("", "rule", 2, 0), ("a", "rule", 1, 0), ("b", "rule", 1, 0)]


def test_a_broken_report_is_refused_and_leaves_nothing_behind() -> None:
    side = HopReports("motetrace/")
    with pytest.raises(WireError, match="JSON"):
        side.receive("rule-engine", PublishPacket("", 1, 1, False, False, b"{"), NOW_NS)
    assert numbers(side) == []


def test_it_is_known_since_when_and_until_when_each_hop_is_heard(connection: sqlite3.Connection) -> None:
    assert side_tables.reporting_times(connection) == {}
    side = HopReports("motetrace/")
    for number, name in enumerate("aba", 1):
        side.receive(name, packet(number, name.encode() * 8), NOW_NS + number * 10**6)
        commit(side, connection)
    assert side_tables.reporting_times(connection) == {"rule": (NOW_NS // 10**6 + 1, NOW_NS // 10**6 + 3)}
    assert uncounted(connection) == []
