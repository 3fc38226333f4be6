"""The journal of a shim whose ledger of numbers is shared: records on its own disk, numbers elsewhere, each once.

No transaction spans two stores, so a batch takes four steps, and a kill between any two of them changes nothing:

1. Its messages and its numbers are committed here as *pending*, with all that holds in any case. That gives its id.
2. The numbers are merged there under that id. The ledger keeps its reply with them: asked again, it replies the same.
3. The batch is *settled* here, in one transaction: messages that the reply calls new become records, the others count
   as deliveries, and the pending batch goes.
4. It is acknowledged to the broker.

| killed | what is found at the next start | the messages, which the broker brings again, here or to another shim |
|---|---|---|
| before 1 | nothing | are new |
| between 1 and 2 | the batch, merged and settled before anything else | new where they are merged first, then known |
| between 2 and 3 | the same; the ledger gives the reply it gave | are known |
| between 3 and 4 | nothing | are known |

Reports, retention and what sends spans on see records only, never a pending batch. While the ledger is out of reach the
batch waits in step 2, and nothing is acknowledged. Only one batch is pending at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from motetrace_host.cluster import pending_batch
from motetrace_host.cluster.bare_seq_watch import BareSeqWatch
from motetrace_host.cluster.pending_batch import Pending
from motetrace_host.core.errors import StoreError
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.boot_runs import DeviceBoots
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.device_topics import DeviceTopic
from motetrace_host.shim.journal import Journal
from motetrace_host.storage import database, pending_batches

if TYPE_CHECKING:
    from motetrace_host.cluster.redis_ledger import RedisSeen


class SharedJournal(Journal):
    """A journal with two stores; see above.

    Args:
        fingerprint: of the key; see `RedisSeen.enter`.
        watch: notices devices with a bare seq that another shim reads too.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        seen: RedisSeen,
        participants: Sequence[BatchParticipant],
        bare_seq: BareSeq,
        counters: Counters,
        fingerprint: bytes,
        watch: BareSeqWatch,
    ) -> None:
        super().__init__(connection, seen, participants, bare_seq, counters)
        self._shared = seen
        self._fingerprint = fingerprint
        self._watch = watch
        self._pending = self._left_over()

    def connected(self) -> None:
        """Settle what an earlier process left pending, then as `Journal.connected`.

        Raises:
            StoreError: the ledger is out of reach, or its shims have another key.
        """
        self._shared.enter(self._fingerprint)
        self._settle_pending()
        super().connected()

    def write(self, batch: Batch) -> set[int]:
        """As `Journal.write`; when it raises, the batch may be pending: the same batch is to be written again.

        Another batch is taken only once that one is settled. So a ledger that refuses a batch for good refuses every
        batch after it too, and nothing is lost when the shim ends on that.
        """
        if self._pending is None or self._pending.batch is not batch:
            self._settle_pending()
            if not self._prepare(batch):
                return super().write(batch)
        return self._settle_pending()

    def _left_over(self) -> Pending | None:
        with database.translated():
            found = pending_batches.load(self._connection)
            if found is None:
                return None
            try:
                return pending_batch.unpack(*found, self._place)
            except ValueError as error:
                remedy = "stop motetrace, move the database away; the broker brings what was not acknowledged again"
                raise StoreError(f"{error}; {remedy}", retry=False) from error

    def _place(self, number: int) -> DeviceTopic:
        row = self._log.place(number)
        return DeviceTopic(row, DeviceBoots(row.device_id), {}, TrustPolicy.CONTINUE, plain=False)

    def _prepare(self, batch: Batch) -> bool:
        """Step 1; False when there is nothing in the batch that the shared ledger has to know."""
        seen_runs = self._seen_runs(batch)
        if not seen_runs and not batch.keys:
            return False
        content = pending_batch.pack(batch, seen_runs)
        with database.transaction(self._connection):
            batch_id = pending_batches.add(self._connection, content)
            self._save_participants(batch)
        batch.id = batch_id
        self._pending = Pending(batch_id, batch, seen_runs)
        self._participants_committed(batch)
        return True

    def _settle_pending(self) -> set[int]:
        """Steps 2 and 3 for the pending batch, if there is one."""
        if self._pending is None:
            return set()
        batch_id, batch, seen_runs = self._pending
        known = self._shared.merge(batch_id, seen_runs) if seen_runs else ()
        taken = self._shared.claim(batch_id, batch.keys.values()) if batch.keys else ()
        self._watch.look(batch.boot_runs, batch.received_unix_ns)
        with database.transaction(self._connection):
            findings = self._find(batch, seen_runs, known, taken)
            self._save_messages(batch, findings)
            pending_batches.settle(self._connection, batch_id)
        self._pending = None
        self._counters.committed()
        return findings.again
