"""`motetrace db check`: whether the database is what it says it is.

First SQLite's own check of the file, then what must hold between our tables. All of it sees one moment of the database,
so a running shim does no harm; memory stays within some 100 MB whatever the size of the file.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from motetrace_host.commands.progress import Progress
from motetrace_host.commands.state_folder import DATABASE_NAME, opened
from motetrace_host.core.errors import StoreError
from motetrace_host.core.messages import record
from motetrace_host.core.verdict.hop_status import SHIM
from motetrace_host.storage import database, forward_cursor, upkeep
from motetrace_host.storage.message_log import Block, MessageLog
from motetrace_host.storage.sqlite_ledger import SqliteLedger

MAX_BOOTS: Final = 500_000  # compared one by one, 200 bytes each
MAX_SHOWN: Final = 20
_FAULTS: Final = 100  # of SQLite's own check
# Of a record: boot nonce, place, kind, threshold.
_COLUMNS: Final = struct.Struct(">24x5s12xI9xBxB")
_DAMAGED: Final = "stop motetrace, copy the file away, and try `sqlite3 FILE .recover`; or restore a backup"
_OURS: Final = "these counts cannot be relied on; please report it as a bug, with what motetrace db show prints"


class Finding(NamedTuple):
    """Something that is not as it must be, and what to do."""

    what: str
    remedy: str


def report(folder: Path, progress: Progress) -> tuple[str, int]:
    """Check the database of a state folder; the text, and the exit code: 0 when all is well, else 1.

    Raises:
        OperatorError: no database.
    """
    lines: list[str] = []
    with opened(folder) as connection:
        checking = Checking(connection, progress)
        findings: list[Finding] = []
        with database.one_moment(connection):
            try:
                findings.extend(checking.run())
            except sqlite3.Error as error:
                findings.append(Finding(f"file: it cannot be read on: {error}", _DAMAGED))
    progress.end()
    for remedy in dict.fromkeys(finding.remedy for finding in findings):
        told = [finding.what for finding in findings if finding.remedy == remedy]
        lines += [f"  {what}" for what in told[:MAX_SHOWN]]
        lines += [f"  and {len(told) - MAX_SHOWN} more"] if len(told) > MAX_SHOWN else []
        lines.append(f"  -> {remedy}")
    head = f"{folder / DATABASE_NAME}: {f'{len(findings)} faults' if findings else 'all is well'}"
    return "\n".join([head, *lines, *(f"  {note}" for note in checking.notes)]) + "\n", 1 if findings else 0


class Checking:
    """One check of one database, inside one read transaction.

    Attributes:
        notes: what was checked, and what could not be.
    """

    def __init__(self, connection: sqlite3.Connection, progress: Progress, max_boots: int = MAX_BOOTS) -> None:
        self._connection = connection
        self._progress = progress
        self._log = MessageLog(connection)
        self._max_boots = max_boots
        self._messages: Counter[tuple[str, bytes]] | None = Counter()
        self.notes: list[str] = []

    def run(self) -> Iterator[Finding]:
        """Check everything."""
        yield from self._file()
        yield from self._blocks()
        yield from self._states()
        yield from self._cursors()
        yield from self._spans()

    def _file(self) -> Iterator[Finding]:
        with self._progress.while_waiting(lambda seconds: f"SQLite's own check, {seconds:.0f} s"):
            faults = upkeep.file_faults(self._connection, _FAULTS)
        yield from (Finding(f"file: {fault}", _DAMAGED) for fault in faults)

    def _blocks(self) -> Iterator[Finding]:
        """Every block holds as many records as it says, and they name what there is."""
        places, thresholds = self._log.places(), {0, *self._log.thresholds()}
        total = max(1, self._log.last_block())
        messages = blocks = 0
        for block in self._log.blocks():
            self._progress.tell("messages", min(1.0, block.id / total))
            blocks, messages = blocks + 1, messages + block.messages
            whole = len(block.records) == block.messages * record.SIZE
            if not whole:
                what = f"block {block.id} has {len(block.records)} bytes for {block.messages} messages"
                yield Finding(f"{what}; it has {record.SIZE} for each", _OURS)
                continue
            seen = Counter(_COLUMNS.iter_unpack(block.records))
            strange = {place for _, place, _, _ in seen} - places.keys()
            if strange:
                yield Finding(f"block {block.id} names places that do not exist: {sorted(strange)[:5]}", _OURS)
            unknown = {threshold for *_, threshold in seen} - thresholds
            if unknown:
                yield Finding(f"block {block.id} names thresholds that do not exist: {sorted(unknown)[:5]}", _OURS)
            yield from self._extras(block)
            self._count({place: places[place].device_id for _, place, _, _ in seen if place in places}, seen)
        self.notes.append(f"checked {messages} messages in {blocks} blocks")

    def _extras(self, block: Block) -> Iterator[Finding]:
        try:
            beyond = [number for number in record.split_extras(block.extras) if number >= block.messages]
        except (ValueError, struct.error) as error:
            yield Finding(f"block {block.id}: {error}", _OURS)
            return
        if beyond:
            yield Finding(f"block {block.id} has extras of messages that it has not: {beyond[:5]}", _OURS)

    def _count(self, devices: dict[int, str], seen: Counter[tuple[bytes, int, int, int]]) -> None:
        """Add the messages of a block to those of their boots."""
        if self._messages is None:
            return
        for (boot_nonce, place, kind, _), count in seen.items():
            if kind & record.NUMBERED and place in devices:
                self._messages[devices[place], boot_nonce] += count
        if len(self._messages) > self._max_boots:
            self._messages = None
            self.notes.append(f"not compared: messages and ledger, of more than {self._max_boots} boots")

    def _states(self) -> Iterator[Finding]:
        """The ledger's states can be read; and of boots of which no message is forgotten yet, log and ledger agree."""
        whole_since_unix_ms = self._whole_since()
        compared = states = 0
        try:
            for row in SqliteLedger(self._connection).each():
                states += 1
                self._progress.tell(f"ledger, {states} states")
                if row.hop != SHIM or self._messages is None or row.seen.first_unix_ms < whole_since_unix_ms:
                    continue
                compared += 1
                logged = self._messages[row.device_id, row.boot_nonce]
                if logged != row.seen.count:
                    boot = f"{row.device_id!r} boot {row.boot_nonce.hex()}"
                    yield Finding(f"{boot}: {logged} messages in the log, {row.seen.count} in the ledger", _OURS)
        except StoreError as error:
            yield Finding(str(error), _DAMAGED)
        self.notes.append(f"checked {states} states of the ledger, {compared} boots against their messages")

    def _whole_since(self) -> int:
        """Boots that began at this time (Unix ms) or later have all their messages in the log."""
        oldest = next(self._log.blocks(limit=1), None)
        if oldest is None:  # none was written yet, or all are forgotten
            return 0 if not upkeep.highest_id(self._connection, "message_block") else 2**63
        return 0 if oldest.id == 1 else oldest.last_unix_ns // 1_000_000 + 1

    def _cursors(self) -> Iterator[Finding]:
        blocks, spans = (upkeep.highest_id(self._connection, table) for table in ("message_block", "span"))
        for target, at in forward_cursor.positions(self._connection).items():
            if at.span_id > spans or at.block > blocks:
                place = f"span {at.span_id} of {spans}, block {at.block} of {blocks}"
                yield Finding(f"the cursor of {target} is beyond what was ever stored: {place}", _OURS)
            after = next(self._log.blocks(at.block, 1), None)
            if at.offset > (after.messages if after else 0):
                yield Finding(f"the cursor of {target} is beyond its block: message {at.offset}", _OURS)

    def _spans(self) -> Iterator[Finding]:
        self._progress.tell("spans")
        for resource, count in upkeep.spans_without_resource(self._connection):
            yield Finding(f"{count} spans name resource {resource}, which does not exist", _OURS)
        for block, decided, messages in upkeep.blocks_decided_twice(self._connection):
            yield Finding(f"block {block} of {messages} messages has {decided} decisions", _OURS)
