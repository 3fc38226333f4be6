"""The ledger of whole devices: reboots, soft resets, clones, restored backups, each accounted against an oracle.

Devices number their messages as the device library does: a boot nonce for each boot, seq from 1. What happens to a
message on its way is drawn by hypothesis; what the ledger says of each boot must be what was delivered, exactly.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.storage.database import create_tables
from motetrace_host.storage.sqlite_ledger import SqliteLedger

NOW = 1_700_000_000_000
WINDOW_MS = 1_000
DEVICE = "sensor-0042"


class Board:
    """One piece of hardware: what it holds in memory."""

    def __init__(self, boot_nonce: bytes) -> None:
        self.boot_nonce = boot_nonce
        self.seq = 0


class DeviceMachine(RuleBasedStateMachine):
    """Boards with one device id, the network between them and a shim, and the shim's ledger."""

    on_the_way = Bundle("on_the_way")  # messages that are late: (boot nonce, seq)
    backups = Bundle("backups")

    @initialize()
    def begin(self) -> None:
        self.now = NOW
        self.boots = 0
        self.boards = [Board(self.new_nonce())]
        self.delivered: dict[bytes, Counter[int]] = {}
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create_tables(self.connection)
        self.ledger = SqliteLedger(self.connection, reorder_window_ms=WINDOW_MS, log_runs=20)

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    def new_nonce(self) -> bytes:
        self.boots += 1
        return self.boots.to_bytes(5, "big")

    def deliver(self, boot_nonce: bytes, seq: int) -> None:
        counts = self.delivered.setdefault(boot_nonce, Counter())
        seen = SeenRuns(DEVICE, boot_nonce, "shim", ((seq, seq),), self.now, expected_first=None if counts else 1)
        assert self.ledger.merge(0, [seen]) == [((seq, seq),) if counts[seq] else ()]
        counts[seq] += 1

    def number(self, which: int) -> tuple[bytes, int]:
        board = self.boards[which % len(self.boards)]
        board.seq += 1
        return board.boot_nonce, board.seq

    @rule(which=st.integers(0, 2), count=st.integers(1, 5))
    def publishes(self, which: int, count: int) -> None:
        for _ in range(count):
            self.deliver(*self.number(which))

    @rule(which=st.integers(0, 2), count=st.integers(1, 3))
    def publishes_and_all_is_lost(self, which: int, count: int) -> None:
        for _ in range(count):
            self.number(which)

    @rule(which=st.integers(0, 2), times=st.integers(2, 3))
    def publishes_and_the_broker_delivers_more_than_once(self, which: int, times: int) -> None:
        message = self.number(which)
        for _ in range(times):
            self.deliver(*message)

    @rule(target=on_the_way, which=st.integers(0, 2))
    def publishes_and_it_takes_its_time(self, which: int) -> tuple[bytes, int]:
        return self.number(which)

    @rule(message=consumes(on_the_way))
    def arrives_late(self, message: tuple[bytes, int]) -> None:
        """Perhaps after the window, after a reboot, or after the same number of a restored backup."""
        self.deliver(*message)

    @rule(which=st.integers(0, 2))
    def reboots(self, which: int) -> None:
        """By power, watchdog or soft reset alike: memory is gone, a nonce is drawn, seq begins at 1."""
        self.boards[which % len(self.boards)] = Board(self.new_nonce())

    @rule()
    def a_second_board_is_given_the_same_id(self) -> None:
        if len(self.boards) < 3:
            self.boards.append(Board(self.new_nonce()))

    @rule(target=backups, which=st.integers(0, 2))
    def a_backup_is_made(self, which: int) -> tuple[bytes, int]:
        board = self.boards[which % len(self.boards)]
        return board.boot_nonce, board.seq

    @rule(which=st.integers(0, 2), backup=backups)
    def a_backup_is_restored(self, which: int, backup: tuple[bytes, int]) -> None:
        """The board goes back in time: the same boot, and numbers that were used before."""
        board = Board(backup[0])
        board.seq = backup[1]
        self.boards[which % len(self.boards)] = board

    @rule(ms=st.sampled_from([1, WINDOW_MS, WINDOW_MS + 1, -5 * WINDOW_MS]))
    def time_passes_or_the_clock_steps_back(self, ms: int) -> None:
        self.now += ms

    @rule()
    def the_shim_restarts(self) -> None:
        self.ledger = SqliteLedger(self.connection, reorder_window_ms=WINDOW_MS, log_runs=20)

    def states(self) -> dict[bytes, SeenNumbers]:
        return {row.boot_nonce: row.seen for row in self.ledger.read(DEVICE)}

    @invariant()
    def every_boot_is_accounted_for(self) -> None:
        states = self.states()
        assert states.keys() == self.delivered.keys()
        for boot_nonce, counts in self.delivered.items():
            seen = states[boot_nonce]
            assert (seen.lowest, seen.highest) == (1, max(counts))
            assert {seq for start, end in seen.runs() for seq in range(start, end + 1)} == counts.keys()
            assert seen.duplicates == counts.total() - len(counts)
            assert seen.missing(self.now + 100 * WINDOW_MS, WINDOW_MS) == (max(counts) - len(counts), 0)

    @invariant()
    def everything_together_is_what_was_delivered(self) -> None:
        states = self.states().values()
        deliveries = sum(counts.total() for counts in self.delivered.values())
        assert sum(seen.count + seen.duplicates for seen in states) == deliveries


TestDevices = DeviceMachine.TestCase
TestDevices.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def sent(*boots: tuple[bytes, range]) -> dict[bytes, SeenNumbers]:
    """The ledger after the messages of these boots, in order, with the first number known."""
    states: dict[bytes, SeenNumbers] = {}
    for boot_nonce, numbers in boots:
        for seq in numbers:
            if boot_nonce in states:
                states[boot_nonce].add(seq, seq, NOW)
            else:
                states[boot_nonce] = SeenNumbers(seq, seq, NOW, expected_first=1)
    return states


A, B = b"aaaaa", b"bbbbb"


def test_a_reboot_is_no_loss() -> None:
    states = sent((A, range(1, 11)), (B, range(1, 6)))
    assert [(seen.count, seen.duplicates, seen.missing(NOW)) for seen in states.values()] == [
        (10, 0, (0, 0)),
        (5, 0, (0, 0)),
    ]


def test_two_interleaved_boots_are_two_complete_ones() -> None:
    turns = [(boot, range(n, n + 1)) for n in range(1, 100) for boot in (A, B)]
    assert [(seen.count, seen.duplicates, seen.gaps) for seen in sent(*turns).values()] == [(99, 0, [])] * 2


def test_a_device_that_goes_back_in_time_repeats_and_loses_nothing() -> None:
    seen = sent((A, range(1, 101)), (A, range(60, 111)))[A]
    assert (seen.highest, seen.count, seen.duplicates, seen.missing(NOW)) == (110, 110, 41, (0, 0))
