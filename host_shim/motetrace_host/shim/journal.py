"""Everything of one batch in one transaction: messages, numbers seen, boots, what side topics brought, rejections."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from motetrace_host.core.ledger.runs import Runs
from motetrace_host.core.ledger.store import SeenRuns, SeenStore
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import numbered_key
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import HOP, Batch
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.counters import Counters
from motetrace_host.storage import database, upkeep
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.side_tables import UNNUMBERED, Unnumbered


@dataclass(slots=True)
class Findings:
    """Which messages of a batch the ledger had before, and how to count deliveries."""

    again: set[int] = field(default_factory=set)
    deliveries: list[tuple[bytes, int, int]] = field(default_factory=list)


class Journal:
    """Writes batches through one connection, which belongs to the pipeline's thread once that runs.

    Args:
        participants: what is written with each batch, in this order; behind it the boots of `bare_seq`.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        seen: SeenStore,
        participants: Sequence[BatchParticipant],
        bare_seq: BareSeq,
        counters: Counters,
    ) -> None:
        self._connection = connection
        with database.translated():
            upkeep.checkpoint_rarely(connection)
        self._log = MessageLog(connection)
        self._seen = seen
        self._participants = (*participants, bare_seq)
        self._bare_seq = bare_seq
        self._counters = counters
        self._batch_id = 0

    def connected(self) -> None:
        """A new connection to the broker begins."""
        with database.translated():
            self._bare_seq.connected(self._log)

    def write(self, batch: Batch) -> set[int]:
        """Write a batch; gives the numbers of the messages that were known already, and are not written again.

        Raises:
            StoreError: nothing of it was kept; `retry`: whether to try again.
        """
        if not batch.id:
            self._batch_id += 1
            batch.id = self._batch_id
        seen_runs = self._seen_runs(batch)
        try:
            with database.transaction(self._connection):
                known = self._seen.merge(batch.id, seen_runs) if seen_runs else ()
                findings = self._find(batch, seen_runs, known)
                self._save_participants(batch)
                self._save_messages(batch, findings)
        except BaseException:
            self._seen.forget_cache()
            raise
        self._participants_committed(batch)
        self._counters.committed()
        return findings.again

    def _all(self, batch: Batch) -> Iterator[BatchParticipant]:
        yield batch
        yield from self._participants

    def _seen_runs(self, batch: Batch) -> list[SeenRuns]:
        """The numbers that a batch brings, those of its messages first."""
        found = batch.runs()
        for one in self._participants:
            found.extend(one.runs())
        return found

    def _save_participants(self, batch: Batch) -> None:
        """Write what holds whichever of the messages turn out to be new."""
        for one in self._all(batch):
            one.save(self._connection)

    def _participants_committed(self, batch: Batch) -> None:
        for one in self._all(batch):
            one.committed()

    def _find(
        self, batch: Batch, seen_runs: Sequence[SeenRuns], known: Sequence[Runs], known_keys: Iterable[bytes] = ()
    ) -> Findings:
        """Which messages of a batch were seen before: by the ledger's reply, by the log, or earlier in the batch.

        Args:
            known_keys: of messages without a number, those that another shim saw before.
        """
        findings = Findings()
        if any(known):
            _numbered_again(batch, seen_runs, known, findings)
        if batch.keys:
            _keyed_again(batch, self._log.known_keys(set(batch.keys.values())).union(known_keys), findings)
        return findings

    def _save_messages(self, batch: Batch, findings: Findings) -> None:
        """Write the messages that are new, the deliveries of the others, and what was wrong with any."""
        again = findings.again
        records, extras = _without(batch, again)
        block = self._log.append(records, extras) if records else self._log.last_block()
        if findings.deliveries:
            self._log.delivered(findings.deliveries, block)
        UNNUMBERED.save(self._connection, _unnumbered(batch, again))
        new = ((number, reasons) for number, reasons in batch.faults.items() if number not in again)
        faults = [(batch.topics[number].device_id, reason) for number, reasons in new for reason in reasons]
        self._counters.save(self._connection, faults)


def _numbered_again(batch: Batch, seen_runs: Sequence[SeenRuns], known: Sequence[Runs], findings: Findings) -> None:
    """Find the records whose numbers the ledger had: of equal ones in a batch, those that arrived last."""
    numbers: dict[tuple[str, bytes], list[int]] = {}
    for number, packed in enumerate(batch.records):
        name = packed[record.SEQ_AT : record.SEQ_AT + 9]
        numbers.setdefault((batch.topics[number].device_id, name), []).append(number)
    for seen, runs in zip(seen_runs, known, strict=True):
        for start, end in runs if seen.hop == HOP else ():
            for seq in range(start, end + 1):
                name = seen.boot_nonce + seq.to_bytes(4, "big")
                findings.again.add(numbers[seen.device_id, name].pop())
                findings.deliveries.append((numbered_key(seen.device_id, seen.boot_nonce, seq), 2, 1))


def _keyed_again(batch: Batch, known: set[bytes], findings: Findings) -> None:
    """Find the messages without a number that were seen before, or earlier in the batch."""
    for number, key in batch.keys.items():
        if key in known:
            findings.again.add(number)
        known.add(key)
        findings.deliveries.append((key, 1, 1))


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
            (duplicates if number in again else messages)[batch.topics[number].device_id] += 1
    return [
        Unnumbered(device_id, messages[device_id], duplicates[device_id], batch.received_unix_ns)
        for device_id in messages.keys() | duplicates.keys()
    ]
