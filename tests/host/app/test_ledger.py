"""The ledger and the message log against a slow, obvious oracle; and what they tell when asked."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motetrace_host.storage import boot_table, database
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.forward_cursor import ForwardCursor, Position
from motetrace_host.storage.side_tables import REJECTIONS, UNNUMBERED, Rejection, Unnumbered
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench

MakeBench = Callable[..., Bench]


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    return database.connect(tmp_path / "motetrace.db")


def send(bench: Bench, device: str, boot: int, seq: int, packet_id: int = 1) -> None:
    bench.send(packet_id, ("seqref", f"{boot:010x}-{seq:08x}-03"), topic=f"devices/{device}/telemetry")


NAMES = st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 2), st.integers(1, 12))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(NAMES, max_size=12), max_size=4))
def test_any_order_of_any_deliveries_gives_the_counts_that_counting_by_hand_gives(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int]]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "motetrace.db"
    oracle: Counter[tuple[str, int, int]] = Counter()
    for batch in batches:
        bench = Bench(path)
        for name in batch:
            send(bench, *name)
            oracle[name] += 1
        assert bench.run()
        bench.close()
    bench = Bench(path)
    found = SqliteLedger(bench.connection).read()
    for row in found:
        boot, seen = int.from_bytes(row.boot_nonce, "big"), row.seen
        seqs = sorted(seq for device, of, seq in oracle if (device, of) == (row.device_id, boot))
        deliveries = sum(times for (device, of, _), times in oracle.items() if (device, of) == (row.device_id, boot))
        assert (seen.count, seen.duplicates) == (len(seqs), deliveries - len(seqs))
        assert (seen.lowest, seen.highest) == (seqs[0], seqs[-1])
        assert sum(seen.missing(NOW // 1_000_000)) == len(set(range(seqs[0], seqs[-1])) - set(seqs))
    assert len(found) == len({(device, boot) for device, boot, _ in oracle})
    for device, boot, seq in oracle:
        nonce = boot.to_bytes(5, "big")
        (entry,) = [one for one in bench.log.find(device, seq) if one.record.boot_nonce == nonce]
        assert entry.deliveries == oracle[device, boot, seq]
        before, after = bench.log.neighbours(device, nonce, seq)
        others = [at for name, of, at in oracle if (name, of) == (device, boot)]
        assert (before.seq if before else None) == max((at for at in others if at < seq), default=None)
        assert (after.seq if after else None) == min((at for at in others if at > seq), default=None)
    bench.close()


def test_the_oldest_messages_are_forgotten_first_and_their_counts_stay(make_bench: MakeBench) -> None:
    for first in range(1, 101, 10):
        bench = make_bench()
        for seq in range(first, first + 10):
            send(bench, "a", 1, seq)
        assert bench.run()
    assert bench.log.trim(30, limit=5) == 50
    assert bench.log.trim(30, limit=5) == 20
    assert bench.log.trim(30, limit=5) == 0
    assert [entry.record.seq for entry in bench.messages()] == list(range(71, 101))
    (row,) = SqliteLedger(bench.connection).read("a")
    assert (row.seen.count, row.seen.lowest) == (100, 1)


def test_what_is_forgotten_before_its_spans_were_sent_is_counted_as_shed(make_bench: MakeBench) -> None:
    for seq in range(1, 6):
        bench = make_bench()
        send(bench, "a", 1, seq)
        bench.send(2, ("seqref", f"{2:010x}-{seq:08x}-02"))  # not sampled: makes no spans
        assert bench.run()
    behind, ahead = ForwardCursor(bench.connection, "behind"), ForwardCursor(bench.connection, "ahead")
    behind.open()
    ahead.open()
    blocks = [block.id for block in bench.log.blocks()]
    behind.settle(Position(block=blocks[0], offset=1), sent=0, refused=0)
    ahead.settle(Position(block=blocks[-1]), sent=0, refused=0)
    assert bench.log.trim(2) == 8
    assert (behind.state().shed, ahead.state().shed) == (2 * 2, 0)  # of blocks 2 to 4 the second's was sent
    behind.settle(Position(block=blocks[0], offset=2), sent=0, refused=0)
    assert behind.position() == (0, blocks[3], 0, 0), "what was on its way when it was forgotten moves nothing back"


def test_boots_are_bounded_and_the_first_seen_go_first(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = BootTable(connection)
    monkeypatch.setattr(boot_table, "MAX_BOOTS", 3)
    opened.add_boots([("a", boot.to_bytes(5, "big"), False, NOW + boot) for boot in range(1, 6)])
    assert opened.trim_boots() == 2
    assert [boot.boot_nonce[-1] for boot in opened.boots("a")] == [3, 4, 5]


def test_rejections_add_up(connection: sqlite3.Connection) -> None:
    REJECTIONS.save(connection, [Rejection("a", "x", 2), Rejection("", "y", 1)])
    REJECTIONS.save(connection, [Rejection("a", "x", 3)])
    assert REJECTIONS.read(connection) == [("", "y", 1), ("a", "x", 5)]


def test_devices_without_numbers_are_bounded_and_those_heard_longest_ago_go_first(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_table, "MAX_UNNUMBERED", 3)
    UNNUMBERED.save(connection, (Unnumbered(f"d{number}", 1, 0, NOW + number) for number in (5, 1, 4, 2, 3)))
    BootTable(connection).trim_boots()
    assert [one.device_id for one in UNNUMBERED.read(connection)] == ["d3", "d4", "d5"]
