"""The ledger of numbers that a shim has for itself, in its database; `cluster/shared_ledger.py` has the shared one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.device_topics import Tenant
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.logging import Log
from motetrace_host.storage import database, pending_batches
from motetrace_host.storage.sqlite_ledger import SqliteLedger


class OwnLedger:
    """The ledger of numbers in the shim's own database: makes the journal that writes it, and a reader."""

    name = "sqlite"
    is_shared = False

    def journal(
        self,
        connection: sqlite3.Connection,
        tenant: Tenant,
        participants: Sequence[BatchParticipant],
        bare_seq: BareSeq,
        counters: Counters,
        log: Log,
    ) -> Journal:
        """Make the journal on the pipeline's connection.

        Raises:
            StoreError: the ledger cannot be used; an operator has to act first.
        """
        with database.translated():
            waits = pending_batches.load(connection)
        if waits:
            raise StoreError(
                "a batch in this state folder waits for the shared ledger: start with --ledger redis://... once more "
                "(with any, should the former one be gone for good), and with sqlite afterwards",
                retry=False,
            )
        return Journal(connection, SqliteLedger(connection), participants, bare_seq, counters)

    def states(self, connection: sqlite3.Connection) -> SeenStore:
        """Make what only reads the states, on a connection of its own."""
        return SqliteLedger(connection)

    def settings(self) -> dict[str, str]:
        """What a report needs to find the ledger again."""
        return {}
