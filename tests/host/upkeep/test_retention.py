"""What goes by age and by size, in steps, and never what is younger or still heard."""

from collections.abc import Callable
from pathlib import Path

import pytest

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.shim import retention
from motetrace_host.shim.retention import Limits, Retention
from motetrace_host.storage import database
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import DeviceTopicRow, MessageLog
from motetrace_host.storage.side_tables import UNNUMBERED, Unnumbered, latest_stats, save_stats
from motetrace_host.storage.span_store import SpanStore
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench

DAY_MS = 86_400_000
NOW_MS = NOW // 10**6
KEEP = Limits(14 * DAY_MS, 10**6, 10**6)
MakeBench = Callable[..., Bench]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "motetrace.db"


def run(path: Path, now_unix_ms: int, limits: Limits = KEEP) -> dict[str, int]:
    connection = database.connect(path)
    try:
        return Retention(connection, limits, lambda _: False).run(now_unix_ms)
    finally:
        connection.close()


def send(make_bench: MakeBench, seqs: range, boot: int = 1) -> None:
    bench = make_bench()
    for seq in seqs:
        bench.send(1, ("seqref", f"{boot:010x}-{seq:08x}-03"))
    assert bench.run()


def test_everything_of_a_boot_that_nobody_heard_for_so_long_goes_and_nothing_before(
    make_bench: MakeBench, path: Path
) -> None:
    send(make_bench, range(1, 6))
    assert run(path, NOW_MS + 14 * DAY_MS - 3_600_000) == {}
    gone = run(path, NOW_MS + 14 * DAY_MS + 3_700_000)
    assert gone == {"messages": 5, "boots": 2}  # its numbers, then what else is known of it
    bench = make_bench()
    assert bench.messages() == []
    assert SqliteLedger(bench.connection).read() == []
    assert bench.ledger.boots() == []
    assert run(path, NOW_MS + 15 * DAY_MS) == {}


def test_a_boot_that_is_still_heard_stays_however_old_it_is(path: Path) -> None:
    connection = database.connect(path)
    store, ledger = SqliteLedger(connection), BootTable(connection)
    old, now = NOW_MS - 100 * DAY_MS, NOW_MS
    with database.transaction(connection):
        ledger.add_boots([("a", b"aaaaa", False, old * 10**6), ("b", b"bbbbb", False, old * 10**6)])
        store.merge(1, [SeenRuns("a", b"aaaaa", "shim", [(1, 9)], old), SeenRuns("b", b"bbbbb", "shim", [(1, 9)], old)])
        store.merge(2, [SeenRuns("a", b"aaaaa", "shim", [(10, 10)], now)])
    assert run(path, NOW_MS) == {"boots": 2}
    assert [row.device_id for row in store.read()] == ["a"]
    assert [boot.device_id for boot in ledger.boots()] == ["a"]
    connection.close()


def test_what_hops_told_of_boots_that_no_device_has_goes_by_age_too(path: Path) -> None:
    connection = database.connect(path)
    store = SqliteLedger(connection)
    with database.transaction(connection):
        store.merge(1, [SeenRuns("", b"ghost", "rule", [(1, 1)], NOW_MS - 20 * DAY_MS)])
        store.merge(2, [SeenRuns("", b"young", "rule", [(1, 1)], NOW_MS)])
    run(path, NOW_MS)
    assert [row.boot_nonce for row in store.read()] == [b"young"]
    connection.close()


def test_statistics_and_counts_of_messages_without_a_number_go_by_age(path: Path) -> None:
    connection = database.connect(path)
    old = NOW_MS - 20 * DAY_MS
    with database.transaction(connection):
        for device, at in (("a", old), ("b", NOW_MS)):
            save_stats(connection, [(device, DeviceStats(b"aaaaa", 5), at)])
            UNNUMBERED.save(connection, [Unnumbered(device, 3, 0, at * 10**6)])
    assert run(path, NOW_MS) == {"statistics": 1}
    assert [device for device, _ in latest_stats(connection)] == ["b"]
    assert [one.device_id for one in UNNUMBERED.read(connection)] == ["b"]
    connection.close()


def span(number: int) -> SpanRow:
    # Whatever its sender's clock says.
    return SpanRow(number.to_bytes(16, "big"), bytes(7) + b"\1", "x", 1, 2, 0, b"r", b"", b"s")


def test_spans_go_by_when_they_were_stored_and_not_by_their_senders_clocks(path: Path) -> None:
    connection = database.connect(path)
    store = SpanStore(connection)

    def stored(number: int) -> None:
        with database.transaction(connection):
            store.insert([span(number)])

    stored(1)
    run(path, NOW_MS)
    stored(2)
    run(path, NOW_MS + 10 * DAY_MS)
    stored(3)
    assert run(path, NOW_MS + 14 * DAY_MS) == {}
    assert run(path, NOW_MS + 15 * DAY_MS) == {"spans": 1}
    assert run(path, NOW_MS + 25 * DAY_MS) == {"spans": 1}
    assert [row.trace_id[-1] for row in store.after(0, 10, 10**6)] == [3]
    connection.close()


def test_a_clock_that_stepped_back_makes_no_span_look_old(path: Path) -> None:
    connection = database.connect(path)
    store = SpanStore(connection)
    with database.transaction(connection):
        store.insert([span(1)])
    run(path, NOW_MS)
    run(path, 0)  # a machine without a battery for its clock
    run(path, NOW_MS + 1)
    assert run(path, NOW_MS + DAY_MS) == {}
    assert len(store.after(0, 10, 10**6)) == 1
    connection.close()


def test_messages_from_a_clock_that_ran_ahead_do_not_stay_for_ever(make_bench: MakeBench, path: Path) -> None:
    send(make_bench, range(1, 4))
    assert run(path, NOW_MS - 15 * DAY_MS)["messages"] == 3


def test_by_size_the_oldest_go_first_and_the_steps_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_STEP", 4)
    connection = database.connect(path)
    store, spans = SqliteLedger(connection), SpanStore(connection)
    with database.transaction(connection):
        for number in range(1, 31):
            nonce = number.to_bytes(5, "big")
            store.merge(number, [SeenRuns("a", nonce, "shim", [(1, 2)], NOW_MS + number)])
            spans.insert([span(number)])
    steps: list[float] = []
    kept = Limits(14 * DAY_MS, 10**6, spans=12, states=10)
    gone = Retention(connection, kept, lambda seconds: bool(steps.append(seconds))).run(NOW_MS + 100)
    assert gone == {"spans": 18, "boots": 20}
    assert len(steps) >= 18 // 4 + 20 // 4, "it waits between steps"
    assert [row.boot_nonce[-1] for row in store.read()] == list(range(21, 31))
    assert len(spans.after(0, 100, 10**6)) == 12
    connection.close()


def test_a_running_store_goes_on_rightly_beside_it(path: Path) -> None:
    ours, theirs = database.connect(path), database.connect(path)
    store = SqliteLedger(ours)
    with database.transaction(ours):
        store.merge(1, [SeenRuns("a", b"old..", "shim", [(1, 9)], NOW_MS - 20 * DAY_MS)])
        store.merge(2, [SeenRuns("b", b"young", "shim", [(1, 9)], NOW_MS)])
    Retention(theirs, KEEP, lambda _: False).run(NOW_MS)
    with database.transaction(ours):
        again = store.merge(
            3, [SeenRuns("a", b"old..", "shim", [(1, 9)], NOW_MS), SeenRuns("b", b"young", "shim", [(9, 10)], NOW_MS)]
        )
    assert again == [(), ((9, 9),)], "what was forgotten begins anew, what stayed is known"
    ours.close()
    theirs.close()


def test_it_stops_between_two_steps_and_tells_how_far_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_STEP", 5)
    monkeypatch.setattr(retention, "_PROGRESS_S", 0.0)
    connection = database.connect(path)
    with database.transaction(connection):
        SpanStore(connection).insert([span(number) for number in range(100)])
    told: list[dict[str, int]] = []
    few = Limits(14 * DAY_MS, 10**6, 0)
    gone = Retention(connection, few, lambda _: True, told.append).run(NOW_MS)
    assert gone == {"spans": 5}
    assert told == [{"spans": 5}]
    connection.close()


def test_with_a_shared_ledger_boots_are_bounded_by_number_only(path: Path) -> None:
    connection = database.connect(path)
    with database.transaction(connection):
        BootTable(connection).add_boots([("a", b"aaaaa", False, 1)])
        MessageLog(connection).add_places([DeviceTopicRow(1, "a", "t", "t")])
    elsewhere = Limits(14 * DAY_MS, 10**6, 10**6, ledger_is_here=False)
    assert run(path, NOW_MS, elsewhere) == {}
    assert len(BootTable(connection).boots()) == 1
    connection.close()
