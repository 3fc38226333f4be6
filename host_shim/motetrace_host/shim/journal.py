"""Everything of one batch in one transaction: ledger rows, spans, births, boot states, rejections."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from motetrace_host.core.message import Message
from motetrace_host.core.span import SpanRow
from motetrace_host.edges import database
from motetrace_host.edges.ledger import Ledger
from motetrace_host.edges.span_store import SpanStore
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.births import Births
from motetrace_host.shim.tally import Tally


class Journal:
    """Writes batches through one connection, which belongs to the pipeline's thread once that runs."""

    def __init__(self, connection: sqlite3.Connection, births: Births, bare_seq: BareSeq, tally: Tally) -> None:
        self._connection = connection
        with database.translated():
            # Rare and large checkpoints: the write-ahead log grows to about 32 MiB (8000 pages of 4 KiB).
            connection.execute("PRAGMA wal_autocheckpoint=8000")
        self._ledger = Ledger(connection)
        self._spans = SpanStore(connection)
        self._births = births
        self._bare_seq = bare_seq
        self._tally = tally

    def connected(self) -> None:
        """A new connection to the broker begins."""
        with database.translated():
            self._bare_seq.connected()

    def write(self, batch: Sequence[tuple[Message, Sequence[SpanRow]]]) -> list[bool]:
        """Write a batch; says for each message whether it is new. Spans and faults of known ones are there already.

        Raises:
            StoreError: nothing of it was kept; `retry` says whether to try again.
        """
        with database.transaction(self._connection):
            new = self._ledger.record([message for message, _ in batch])
            faults = [
                (message.device_id, reason)
                for (message, _), is_new in zip(batch, new, strict=True)
                if is_new
                for reason in message.faults
            ]
            rejected = self._tally.unsaved(faults)
            self._spans.insert(row for (_, rows), is_new in zip(batch, new, strict=True) if is_new for row in rows)
            for device_id, birth, received_unix_ns in self._births.unsaved():
                self._ledger.store_birth(device_id, birth, received_unix_ns)
            self._ledger.keep_boot_states(self._bare_seq.changed())
            self._ledger.reject(rejected)
        self._births.saved()
        self._bare_seq.kept()
        self._tally.saved(rejected, faults)
        return new
