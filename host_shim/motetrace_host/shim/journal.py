"""Everything of one batch in one transaction: messages, numbers seen, boots, what side topics heard, rejections."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from motetrace_host.core import record
from motetrace_host.core.message import numbered_key
from motetrace_host.core.seen import Runs
from motetrace_host.core.seen_store import SeenStore
from motetrace_host.edges import database
from motetrace_host.edges.ledger import Ledger, Unnumbered
from motetrace_host.edges.message_log import MessageLog
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.places import Places
from motetrace_host.shim.side_topic import Keeper
from motetrace_host.shim.tally import Tally


@dataclass(slots=True)
class _Findings:
    """What the ledger says of a batch: which of its messages were seen before, and how to count deliveries."""

    again: set[int] = field(default_factory=set)
    deliveries: list[tuple[bytes, int, int]] = field(default_factory=list)


class Journal:
    """Writes batches through one connection, which belongs to the pipeline's thread once that runs."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        seen: SeenStore,
        places: Places,
        bare_seq: BareSeq,
        keepers: Sequence[Keeper],
        tally: Tally,
    ) -> None:
        self._connection = connection
        with database.translated():
            # Rare and large checkpoints: the write-ahead log grows to about 32 MiB (8000 pages of 4 KiB).
            connection.execute("PRAGMA wal_autocheckpoint=8000")
        self._ledger = Ledger(connection)
        self._log = MessageLog(connection)
        self._seen = seen
        self._places = places
        self._bare_seq = bare_seq
        self._keepers = keepers
        self._tally = tally
        self._batch_id = 0

    def connected(self) -> None:
        """A new connection to the broker begins."""
        with database.translated():
            self._bare_seq.connected(self._log)

    def write(self, batch: Batch) -> set[int]:
        """Write a batch; gives the numbers of the messages that were known already, and are not written again.

        Raises:
            StoreError: nothing of it was kept; `retry` says whether to try again.
        """
        if not batch.id:
            self._batch_id += 1
            batch.id = self._batch_id
        try:
            with database.transaction(self._connection):
                findings = self._merge(batch)
                faults = [
                    (batch.places[number].device_id, reason)
                    for number, reasons in batch.faults.items()
                    if number not in findings.again
                    for reason in reasons
                ]
                rejected = self._tally.unsaved(faults)
                self._keep(batch, findings)
                self._ledger.reject(rejected)
        except BaseException:
            self._seen.forget_cache()
            raise
        self._kept(batch)
        self._tally.saved(rejected, faults)
        return findings.again

    def _merge(self, batch: Batch) -> _Findings:
        """Bring the numbers of the batch into the ledger."""
        deltas = batch.deltas()
        others = [delta for keeper in self._keepers for delta in keeper.deltas()]
        known = self._seen.merge(batch.id, [*deltas, *others]) if deltas or others else []
        findings = _Findings()
        if any(known[: len(deltas)]):
            _numbered_again(batch, known, findings)
        if batch.keys:
            self._keyed_again(batch, findings)
        return findings

    def _keyed_again(self, batch: Batch, findings: _Findings) -> None:
        """Find the messages without a number that were seen before: in the log, or earlier in the batch."""
        known = self._log.known_keys(set(batch.keys.values()))
        for number, key in batch.keys.items():
            if key in known:
                findings.again.add(number)
            known.add(key)
            findings.deliveries.append((key, 1, 1))

    def _keep(self, batch: Batch, findings: _Findings) -> None:
        """Write all that is not a number."""
        again = findings.again
        self._log.add_places(self._places.unsaved())
        self._log.add_thresholds(self._places.plans.unsaved())
        self._ledger.add_boots(
            (run.device_id, run.boot_nonce, run.inferred, batch.received_unix_ns) for run in batch.runs if not run.known
        )
        records, extras = _without(batch, again)
        block = self._log.append(records, extras) if records else self._log.last_block()
        if findings.deliveries:
            self._log.delivered(findings.deliveries, block)
        self._ledger.add_unnumbered(_unnumbered(batch, again))
        for keeper in self._keepers:
            keeper.write(self._connection)
        self._ledger.keep_boot_states(self._bare_seq.changed())
        self._ledger.keep_reasons(self._bare_seq.begun())

    def _kept(self, batch: Batch) -> None:
        for run in batch.runs:
            run.known = True
        batch.close()
        for keeper in self._keepers:
            keeper.written()
        self._bare_seq.kept()
        self._places.saved()


def _numbered_again(batch: Batch, known: Sequence[Runs], findings: _Findings) -> None:
    """Find the records whose numbers the ledger had: of equal ones in a batch, those that arrived last."""
    numbers: dict[tuple[str, bytes], list[int]] = {}
    for number, packed in enumerate(batch.records):
        name = packed[record.SEQ_AT : record.SEQ_AT + 9]
        numbers.setdefault((batch.places[number].device_id, name), []).append(number)
    for run, runs in zip(batch.runs, known, strict=False):
        for start, end in runs:
            for seq in range(start, end + 1):
                name = run.boot_nonce + seq.to_bytes(4, "big")
                findings.again.add(numbers[run.device_id, name].pop())
                findings.deliveries.append((numbered_key(run.device_id, run.boot_nonce, seq), 2, 1))


def _without(batch: Batch, again: set[int]) -> tuple[list[bytes], dict[int, bytes]]:
    """Records and extras of the messages that are new."""
    if not again:
        return batch.records, batch.extras
    kept = [number for number in range(len(batch.records)) if number not in again]
    extras = {place: batch.extras[number] for place, number in enumerate(kept) if number in batch.extras}
    return [batch.records[number] for number in kept], extras


def _unnumbered(batch: Batch, again: set[int]) -> list[Unnumbered]:
    """Counts of messages without a number, by device: what is not numbered has an extra."""
    messages: Counter[str] = Counter()
    duplicates: Counter[str] = Counter()
    for number in batch.extras:
        if not record.unpack(batch.records[number]).numbered:
            (duplicates if number in again else messages)[batch.places[number].device_id] += 1
    return [
        Unnumbered(device_id, messages[device_id], duplicates[device_id], batch.received_unix_ns)
        for device_id in messages.keys() | duplicates.keys()
    ]
