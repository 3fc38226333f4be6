"""What the shims' disks say: numbers in the ledger, messages in the logs, and everything that should be zero."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from motetrace_host.cluster import redis_ledger
from motetrace_host.cluster.redis_ledger import RedisSeen
from motetrace_host.core.ledger.store import SeenRow
from motetrace_host.core.messages.record import RECORD
from motetrace_host.storage.forward_cursor import ForwardCursor
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.side_tables import REJECTIONS
from motetrace_host.storage.sqlite_ledger import SqliteLedger

DATABASE = "motetrace.db"
_TENANT = "-"  # as cluster/redis_ledger.py is told when the tenant has no name
Key = tuple[str, bytes]
"""Device id and boot nonce."""


@contextlib.contextmanager
def opened(state: Path) -> Iterator[sqlite3.Connection]:
    """A shim's database, to read in; what a killed shim left unwritten is for the next one to deal with, not for us."""
    connection = sqlite3.connect(f"file:{state / DATABASE}?mode=ro", uri=True, timeout=20, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def stored(states: Sequence[Path]) -> int:
    """How many messages the logs have; what cannot be read at this moment counts as none."""
    messages = 0
    for state in states:
        with contextlib.suppress(sqlite3.Error), opened(state) as connection:
            messages += MessageLog(connection).count()
    return messages


def embedded_ledger(state: Path) -> list[SeenRow]:
    """The states of the ledger in a shim's own database."""
    with opened(state) as connection:
        return SqliteLedger(connection).read()


def unsent(states: Sequence[Path], target: str) -> int:
    """Messages whose spans the trace backend has not settled yet."""
    pending = 0
    for state in states:
        with opened(state) as connection:
            pending += ForwardCursor(connection, target).state().pending_messages
    return pending


def shared_ledger(url: str) -> list[SeenRow]:
    """The states of the ledger that several shims share."""
    with contextlib.closing(redis_ledger.connect(url)) as client:
        return RedisSeen(client, tenant=_TENANT, shim_id="soak").read()


class LedgerEvidence:
    """What the hop `shim` has seen.

    Attributes:
        numbers: by boot, a byte for each number: 1 when it was seen.
        duplicates, late: as the states count them. forgotten: numbers whose gaps no longer fit; must be 0.
    """

    def __init__(self, rows: Sequence[SeenRow]) -> None:
        self.numbers: dict[Key, bytearray] = {}
        self.duplicates = self.late = self.forgotten = 0
        for row in rows:
            if row.hop == "shim":
                seen = self.numbers.setdefault((row.device_id, row.boot_nonce), bytearray())
                for start, end in row.seen.runs():
                    seen.extend(bytes(max(0, end + 1 - len(seen))))
                    seen[start : end + 1] = b"\1" * (end + 1 - start)
                self.duplicates += row.seen.duplicates
                self.late += row.seen.late
                self.forgotten += row.seen.forgotten

    @property
    def total(self) -> int:
        """Numbers seen."""
        return sum(sum(numbers) for numbers in self.numbers.values())


class LogEvidence:
    """What the message logs have, all shims together.

    Attributes:
        numbers: by boot, a byte for each number: how often it is there.
        unkept: messages whose spans the sampling does not keep.
        steps_back: how often a message was received before the one before it, by more than a minute: the stepped clock.
        faults: records that contradict themselves. sums: rejections and the like by name.
    """

    def __init__(self, states: Sequence[Path], target: str) -> None:
        self.numbers: dict[Key, bytearray] = {}
        self.total = 0
        self.steps_back = 0
        self.unkept = 0
        self.faults: list[str] = []
        self.sums: Counter[str] = Counter()
        for state in states:
            with opened(state) as connection:
                self._read_log(connection)
                self._read_sums(connection, target)

    def _read_log(self, connection: sqlite3.Connection) -> None:
        log = MessageLog(connection)
        places = log.places()
        last_ns = 0
        for block in log.blocks():
            for trace_id, _, nonce, seq, received_ns, place, *_, kind, decision, _ in RECORD.iter_unpack(block.records):
                if trace_id[:9] != nonce + seq.to_bytes(4, "big") or not kind & 0x40:
                    self.faults.append(f"record of trace {trace_id.hex()} says {nonce.hex()} {seq}")
                self.steps_back += received_ns < last_ns - 60_000_000_000
                self.unkept += decision < 16
                last_ns = received_ns
                self.count((places[place].device_id, nonce), seq)

    def count(self, key: Key, seq: int) -> None:
        """Note one record."""
        numbers = self.numbers.setdefault(key, bytearray())
        if seq >= len(numbers):
            numbers.extend(bytes(seq + 1 - len(numbers)))
        numbers[seq] += 1
        self.total += 1

    def _read_sums(self, connection: sqlite3.Connection, target: str) -> None:
        for device, reason, count in REJECTIONS.read(connection):
            self.sums["rejected"] += count
            self.faults.append(f"rejected: {count} of {device or 'no device'} for {reason}")
        at = ForwardCursor(connection, target).state()
        self.sums.update(shed=at.shed, refused=at.refused, pending=at.pending_messages)
        check = connection.execute("PRAGMA integrity_check").fetchall()
        if check != [("ok",)]:
            self.faults.append(f"integrity_check: {check[:3]}")
