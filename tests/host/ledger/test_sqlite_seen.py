"""What the SQLite store promises beside the contract: it goes with the transaction, and others may write too."""

from __future__ import annotations

import sqlite3

import pytest

from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.storage.database import transaction
from tests.host.ledger.stores import WINDOW_MS, SqliteLedger

NOW = 1_700_000_000_000
BOOT = bytes.fromhex("0102030405")


def numbers(start: int, end: int, device: str = "a", at: int = NOW) -> SeenRuns:
    return SeenRuns(device, BOOT, "shim", ((start, end),), at)


def roll_back(ledger: SqliteLedger, *seen_runs: SeenRuns) -> None:
    """As when the disk is full after the merge of a batch."""
    ledger.connection.execute("BEGIN IMMEDIATE")
    ledger.store.merge(99, seen_runs)
    ledger.connection.execute("ROLLBACK")


@pytest.mark.parametrize("log_runs", [1, 1000])
@pytest.mark.parametrize("told", [True, False])
def test_a_batch_that_was_rolled_back_was_never_there(log_runs: int, told: bool, sqlite_ledger: SqliteLedger) -> None:
    ledger = SqliteLedger(sqlite_ledger.path, log_runs=log_runs)
    ledger.merge([numbers(1, 3)])
    roll_back(ledger, numbers(4, 9), numbers(1, 1, "b"))
    if told:
        ledger.store.forget_cache()
    assert [row.seen for row in ledger.read()] == [SeenNumbers(1, 3, NOW)]
    assert ledger.merge([numbers(4, 4), numbers(1, 1, "b")]) == [(), ()]
    assert [row.seen.count for row in ledger.read()] == [4, 1]
    ledger.close()


def test_a_failure_within_merge_leaves_memory_and_disk_as_one(sqlite_ledger: SqliteLedger) -> None:
    sqlite_ledger.merge([numbers(1, 3)])
    sqlite_ledger.connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON seen_log BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(StoreError, match="disk full"):
        sqlite_ledger.merge([numbers(4, 4)])
    sqlite_ledger.connection.execute("DROP TRIGGER full")
    assert sqlite_ledger.merge([numbers(4, 4)]) == [()]


def test_a_batch_is_one_log_row_and_states_are_written_when_the_log_is_full(sqlite_ledger: SqliteLedger) -> None:
    ledger = SqliteLedger(sqlite_ledger.path, log_runs=3)

    def rows() -> tuple[list[int], int, int]:
        """The highest numbers as they are in the states, and how many log rows and runs there are."""
        states = ledger.connection.execute("SELECT state FROM seen ORDER BY device_id").fetchall()
        log = ledger.connection.execute("SELECT runs FROM seen_log WHERE length(runs) > 5").fetchall()
        return (
            [SeenNumbers.unpack(state).highest for (state,) in states],
            len(log),
            sum(len(runs) // 24 for (runs,) in log),
        )

    ledger.merge([numbers(1, 1), numbers(1, 1, "b")])
    assert rows() == ([1, 1], 0, 0)
    for seq in (2, 3, 4):
        ledger.merge([numbers(seq, seq), numbers(seq, seq, "b")])
    assert rows() == ([1, 1], 3, 6)  # more than 3 runs, but fewer than 4 for each state
    ledger.merge([numbers(5, 6), numbers(5, 5, "b")])
    assert rows() == ([6, 5], 0, 0)
    ledger.merge([numbers(1, 1, f"c{n}") for n in range(50)])
    ledger.merge([numbers(2, 2, f"c{n}") for n in range(11)])
    assert rows()[1:] == (1, 11)
    ledger.merge([numbers(3, 3, "c0")])  # 4 times 3 runs are most, however many the states are
    assert rows()[1:] == (0, 0)
    ledger.close()


def test_the_log_is_replayed_with_the_window_it_was_written_with(sqlite_ledger: SqliteLedger) -> None:
    sqlite_ledger.merge([numbers(1, 1)])
    sqlite_ledger.merge([numbers(3, 3)])
    sqlite_ledger.merge([numbers(2, 2, at=NOW + WINDOW_MS + 1)])
    reopened = SqliteLedger(sqlite_ledger.path, reorder_window_ms=10 * WINDOW_MS)
    [row] = reopened.read()
    assert row.seen.recovered == 1
    reopened.merge([])
    assert reopened.read() == sqlite_ledger.read() == [row]
    reopened.close()


def test_retention_in_another_process_is_noticed(sqlite_ledger: SqliteLedger) -> None:
    other = SqliteLedger(sqlite_ledger.path)
    sqlite_ledger.merge([numbers(1, 9), numbers(1, 9, "b", at=NOW + 50)._replace(boot_nonce=b"other")])
    sqlite_ledger.merge([numbers(10, 10)])
    assert other.forget_before(NOW + 1) == 1
    assert sqlite_ledger.merge([numbers(9, 9)]) == [()]
    assert [(row.device_id, row.seen.lowest, row.seen.highest) for row in other.read()] == [("a", 9, 9), ("b", 1, 9)]
    other.close()


def test_two_processes_that_take_turns_lose_and_double_nothing(sqlite_ledger: SqliteLedger) -> None:
    ledgers = [sqlite_ledger, SqliteLedger(sqlite_ledger.path, log_runs=7)]
    for seq in range(1, 61):
        assert ledgers[seq * 7 % 13 % 2].merge([numbers(seq, seq), numbers(seq, seq + 1, "b")])[0] == ()
    states = {row.device_id: row.seen for row in sqlite_ledger.read()}
    assert (states["a"].count, states["a"].duplicates, states["b"].count, states["b"].duplicates) == (60, 0, 61, 59)
    ledgers[1].close()


def test_a_reader_sees_one_moment_and_leaves_no_transaction_open(sqlite_ledger: SqliteLedger) -> None:
    sqlite_ledger.merge([numbers(1, 1)])
    reader = SqliteLedger(sqlite_ledger.path)
    with transaction(sqlite_ledger.connection):
        sqlite_ledger.store.merge(2, [numbers(2, 2)])
        assert [row.seen.highest for row in sqlite_ledger.read()] == [2]
        assert [row.seen.highest for row in reader.read()] == [1]
    assert not reader.connection.in_transaction
    assert [row.seen.highest for row in reader.read()] == [2]
    reader.close()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE seen SET state = x'01'", "row 1 of seen is damaged: ledger state of 1 bytes"),
        ("UPDATE seen_log SET runs = x'0100000000ff'", "row 1 of seen_log is damaged: ledger log of 6 bytes"),
        (f"UPDATE seen_log SET runs = x'0100000000{1:016x}{5:08x}{4:08x}{0:016x}' WHERE id = 2", r"row 2 .*run 5\.\.4"),
        ("UPDATE seen_log SET runs = x''", "version none"),
    ],
)
def test_a_damaged_row_is_named_and_a_retry_does_not_help(damage: str, named: str, sqlite_ledger: SqliteLedger) -> None:
    sqlite_ledger.merge([numbers(1, 1)])
    sqlite_ledger.merge([numbers(2, 2)])
    sqlite_ledger.connection.execute(damage)
    sqlite_ledger.reopen()
    for work in (sqlite_ledger.read, lambda: sqlite_ledger.merge([numbers(3, 3)])):
        with pytest.raises(StoreError, match=named) as refusal:
            work()
        assert not refusal.value.retry


def test_a_closed_connection_is_an_error_of_sqlites_for_the_caller_to_translate(sqlite_ledger: SqliteLedger) -> None:
    sqlite_ledger.close()
    with pytest.raises(sqlite3.Error):
        sqlite_ledger.store.read()


def test_memory_stays_within_its_bound(sqlite_ledger: SqliteLedger) -> None:
    ledger = SqliteLedger(sqlite_ledger.path, cache_states=50, log_runs=1000)
    for begin in range(0, 600, 20):
        ledger.merge([numbers(1, 1, f"d{n}") for n in range(begin, begin + 20)])
        assert len(ledger.store._changed) <= len(ledger.store._states) <= 50 + 20
    assert ledger.merge([numbers(1, 2, f"d{n}") for n in range(600)]) == [((1, 1),)] * 600
    ledger.close()
