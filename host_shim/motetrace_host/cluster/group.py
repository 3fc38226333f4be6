"""A shim of a group: its ledger is shared, and it joins that before it takes any message."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motetrace_host.cluster.bare_seq_watch import BareSeqWatch
from motetrace_host.cluster.shared_journal import SharedJournal
from motetrace_host.cluster.shared_ledger import LedgerAddress, connected, fingerprint
from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.store import SeenStore
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.device_topics import Tenant
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.logging import Log
from motetrace_host.shim.own_ledger import OwnLedger
from motetrace_host.storage import database, pending_batches

if TYPE_CHECKING:
    from motetrace_host.cluster.redis_ledger import RedisSeen


class SharedLedger(OwnLedger):
    """The ledger of numbers that several shims share: makes the journal that writes it, and a reader."""

    is_shared = True

    def __init__(self, address: LedgerAddress) -> None:
        self._address = address
        self.name = address.url

    def journal(
        self,
        connection: sqlite3.Connection,
        tenant: Tenant,
        participants: Sequence[BatchParticipant],
        bare_seq: BareSeq,
        counters: Counters,
        log: Log,
    ) -> Journal:
        """See `OwnLedger`. Raises OperatorError, too."""
        mark = fingerprint(tenant.key, tenant.name)
        ledger = self.joined(connection, mark, log)
        watch = BareSeqWatch(ledger, counters, log)
        return SharedJournal(connection, ledger, participants, bare_seq, counters, mark, watch)

    def states(self, connection: sqlite3.Connection) -> SeenStore:
        return connected(self._address, "tail")

    def settings(self) -> dict[str, str]:
        return self._address.noted()

    def joined(self, connection: sqlite3.Connection, mark: bytes, log: Log) -> RedisSeen:
        """The ledger for the shim on this database; it is logged when it is in danger or out of reach.

        Raises:
            StoreError, OperatorError: an operator has to act first.
        """
        url = self._address.url
        try:
            ledger = _joined(self._address, connection, mark)
            for caution in ledger.cautions():
                log.warning("ledger_in_danger", ledger=url, caution=caution)
        except StoreError as error:
            if not error.retry:
                raise
            remedy = "is Redis up there? check --ledger; nothing is acknowledged to the broker until it answers"
            log.warning("ledger_waits", ledger=url, error=str(error), remedy=remedy)
            return connected(self._address, _shim_id(connection))
        return ledger


def _joined(where: LedgerAddress, connection: sqlite3.Connection, mark: bytes) -> RedisSeen:
    """The ledger, asked whether it and the database belong together.

    A database with fewer batches under its name than the ledger has came from a backup, or is a copy of another shim's:
    it takes a new name then, under which it may count from where it stands.
    """
    ledger = connected(where, _shim_id(connection))
    known_there = ledger.enter(mark)
    with database.translated():
        known_here = pending_batches.last_id(connection)
    if known_there > known_here:
        with database.transaction(connection):
            name = pending_batches.renew_shim_id(connection)
        return connected(where, name)
    return ledger


def _shim_id(connection: sqlite3.Connection) -> str:
    with database.transaction(connection):
        return pending_batches.shim_id(connection)
