"""From the inbox to the disk, and only then back to the broker as an acknowledgement."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.ack_queue import AckQueue
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.batch_store import BatchStore
from motetrace_host.shim.database_retry import AbandonedError
from motetrace_host.shim.fast_path import FastPath
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.inflight_window import InflightWindow
from motetrace_host.shim.logging import Log
from motetrace_host.shim.ports import BrokerConnection
from motetrace_host.shim.republisher import Republisher

BATCH_MESSAGES = 4_000
GATHER_S = 0.005
_MAX_UNANSWERED = 10_000  # republishes; beyond it nothing is taken from the inbox


class Pipeline:
    """The one thread that reads messages, writes them down and acknowledges them.

    A disk that refuses work stops it until it takes work again: nothing is acknowledged meanwhile, so the broker keeps
    the rest.

    Args:
        on_failure: called with the reason when it cannot go on. on_stored: called after each batch.
    """

    def __init__(
        self,
        inbox: Inbox,
        reader: FastPath,
        store: BatchStore,
        republisher: Republisher,
        broker: BrokerConnection,
        log: Log,
        on_failure: Callable[[str], None],
        on_stored: Callable[[], None],
    ) -> None:
        self.reader = reader
        self.store = store
        self._inbox = inbox
        self._republisher = republisher
        self._broker = broker
        self._log = log
        self._on_failure = on_failure
        self._on_stored = on_stored
        self._acks = AckQueue(broker.acknowledge)
        self._window = InflightWindow(BATCH_MESSAGES)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="motetrace-pipeline", daemon=True)

    def start(self) -> None:
        """Begin to take from the inbox."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Work off what the inbox holds, wait for answers to republishes, end; False when time did not suffice.

        What was not worked off was not acknowledged, and comes again.
        """
        self._closing.set()
        self._inbox.close()
        self._thread.join(timeout_s)
        self.store.retry.end()
        self._thread.join(1.0)
        return not (self._thread.is_alive() or len(self._inbox) or len(self._acks))

    def _run(self) -> None:
        try:
            while not self.store.retry.ended:
                took = self._turn()
                if not self._closing.is_set() and not len(self._acks) and (overflown := self._inbox.overdue()):
                    self._broker.renew(overflown)
                if self._closing.is_set() and not took and not len(self._inbox) and not len(self._acks):
                    return
        except AbandonedError:
            pass
        except Exception as error:  # noqa: BLE001
            self._log.error("pipeline_failed", error=f"{type(error).__name__}: {error}")
            self._on_failure(str(error))

    def _turn(self) -> bool:
        """Take what is in the inbox, store and acknowledge it; False when there were no messages."""
        takes = BATCH_MESSAGES if len(self._republisher) < _MAX_UNANSWERED else 0
        wait_s = 0.05 if self._closing.is_set() else 0.5
        chunks, published = self._inbox.take(takes, wait_s, GATHER_S, self._window.enough)
        if chunks:
            self._window.took(sum(len(chunk.frames) for chunk in chunks))
        for answer in published:
            self._republisher.answered(answer)
            self._acks.answered(answer.packet_id)
        # By connection: what a reconnect repeats is looked up in the ledger, the first sending must be there.
        for connection, group in itertools.groupby(chunks, lambda chunk: chunk.connection):
            self._batch(connection, list(group))
        self._acks.flush()
        return bool(chunks)

    def _batch(self, connection: int, chunks: Sequence[Chunk]) -> None:
        self.store.connected(connection)
        batch = Batch(connection, chunks[-1].received_unix_ns)
        for chunk in chunks:
            self.reader.read(chunk, batch)
        self.store.store(batch)
        waits_for = {position: self._republisher.republish(*one) for position, one in batch.republishes}
        self._acks.extend(connection, batch.acks, waits_for)
        self._on_stored()
