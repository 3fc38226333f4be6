"""Batches to the disk, however long it takes, without letting one message stop the others."""

from __future__ import annotations

from motetrace_host.core.messages import record
from motetrace_host.core.printable import printable
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import DatabaseRetry, RefusedError
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.logging import Log


class BatchStore:
    """Stores batches, and counts what is new in them.

    Args:
        log: gets each message, at its level debug.
    """

    def __init__(
        self, journal: Journal, retry: DatabaseRetry, counters: Counters, log: Log, *, log_messages: bool
    ) -> None:
        self.journal = journal
        self.retry = retry
        self._counters = counters
        self._log = log
        self._log_messages = log_messages
        self._connection = 0

    def store(self, batch: Batch) -> None:
        """Write a batch; what the database refuses for good is counted and left out.

        Raises:
            RefusedError: it refuses everything. AbandonedError: the shim stops.
        """
        try:
            self._write(batch)
        except RefusedError as error:
            # One of them is at fault, or all would be: then storing nothing fails, too, and the shim has to end.
            self._write(Batch(batch.connection, batch.received_unix_ns))
            self._write_parts(batch, error)

    def connected(self, connection: int) -> None:
        """Batches of a connection to the broker come from now on, perhaps of another than before."""
        if connection != self._connection:
            self._connection = connection
            self.retry.run(self.journal.connected)

    def _write(self, batch: Batch) -> None:
        again = self.retry.run(lambda: self.journal.write(batch))
        self._counters.stored += len(batch.records) - len(again)
        self._counters.duplicates += len(again)
        if self._log_messages:
            for number in range(len(batch.records)):
                self._log_message(batch, number, number not in again)

    def _write_parts(self, batch: Batch, error: RefusedError) -> None:
        """Write what can be written of a batch that the database refuses, by halves down to the message at fault."""
        batch.close()
        if len(batch.records) > 1:
            for half in batch.halves():
                try:
                    self._write(half)
                except RefusedError as refusal:
                    self._write_parts(half, refusal)
        elif batch.records:
            self._counters.pass_over(batch.topics[0].device_id, error)
            self._write(Batch(batch.connection, batch.received_unix_ns))  # the count of it

    def _log_message(self, batch: Batch, number: int, is_new: bool) -> None:
        found = record.unpack(batch.records[number])
        self._log.debug(
            "message" if is_new else "duplicate",
            **{"device.id": printable(batch.topics[number].device_id)},
            trace_id=found.trace_id.hex(),
            span_id=found.span_id.hex(),
            seq=found.seq if found.numbered else None,
            origin=record.ORIGINS[found.kind >> 2 & 3],
        )
