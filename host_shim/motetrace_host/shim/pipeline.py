"""From the inbox to the disk, and only then back to the broker as an acknowledgement."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from motetrace_host.core.messages import record
from motetrace_host.core.mqtt.connection import Chunk, Published
from motetrace_host.core.printable import printable
from motetrace_host.shim.ack_queue import AckQueue
from motetrace_host.shim.batch import Batch, Republish
from motetrace_host.shim.births import Births
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import AbandonedError, DatabaseRetry, RefusedError
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.inflight_window import InflightWindow
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.reader import Reader
from motetrace_host.shim.republisher import Republisher

BATCH_MESSAGES = 4_000
GATHER_S = 0.005
_MAX_UNANSWERED = 10_000  # republishes; beyond it nothing is taken from the inbox


class Link(Protocol):
    """What is needed of the broker's connection."""

    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None: ...
    def renew(self, connection: int) -> None: ...


class Log(Protocol):
    """What is needed of a structured logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Pipeline:
    """The one thread that reads messages, writes them down and acknowledges them.

    A message that breaks it is counted as `internal_error`, logged and acknowledged. A disk that refuses work stops it
    until it takes work again: nothing is acknowledged meanwhile, so the broker keeps the rest.
    """

    def __init__(
        self,
        inbox: Inbox,
        reader: Reader,
        births: Births,
        journal: Journal,
        link: Link,
        republisher: Republisher,
        counters: Counters,
        log: Log,
        retry: DatabaseRetry,
        *,
        log_messages: bool = False,
        on_failure: Callable[[str], None] = lambda why: None,
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._inbox = inbox
        self._reader = reader
        self._births = births
        self._journal = journal
        self._link = link
        self._republisher = republisher
        self._counters = counters
        self._log = log
        self._retry = retry
        self._log_messages = log_messages
        self._on_failure = on_failure
        self._on_stored = on_stored
        self._ack_queue = AckQueue()
        self._window = InflightWindow(BATCH_MESSAGES)
        self._connection = 0
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
        self._retry.end()
        self._thread.join(1.0)
        return not (self._thread.is_alive() or len(self._inbox) or len(self._ack_queue))

    def _run(self) -> None:
        try:
            while not self._retry.ended:
                takes = BATCH_MESSAGES if len(self._republisher) < _MAX_UNANSWERED else 0
                wait_s = 0.05 if self._closing.is_set() else 0.5
                chunks, published = self._inbox.take(takes, wait_s, GATHER_S, self._window.enough)
                if chunks:
                    self._window.took(sum(len(chunk.frames) for chunk in chunks))
                for answer in published:
                    self._answered(answer)
                # By connection: what a reconnect repeats is looked up in the ledger, the first sending must be there.
                for connection, group in itertools.groupby(chunks, lambda chunk: chunk.connection):
                    self._batch(connection, list(group))
                self._acknowledge()
                if not self._closing.is_set() and not len(self._ack_queue) and (overflown := self._inbox.overdue()):
                    self._link.renew(overflown)
                if self._closing.is_set() and not chunks and not len(self._inbox) and not len(self._ack_queue):
                    return
        except AbandonedError:
            pass
        except Exception as error:  # noqa: BLE001
            self._log.error("pipeline_failed", error=f"{type(error).__name__}: {error}")
            self._on_failure(str(error))

    def _batch(self, connection: int, chunks: Sequence[Chunk]) -> None:
        if connection != self._connection:
            self._connection = connection
            self._retry.run(self._journal.connected)
        batch = Batch(connection, chunks[-1].received_unix_ns)
        for chunk in chunks:
            self._reader.read(chunk, batch)
        try:
            self._store(batch)
        except RefusedError as error:
            # One of them is at fault, or all would be: then storing nothing fails, too, and the shim has to end.
            self._store(Batch(connection, batch.received_unix_ns))
            self._store_parts(batch, error)
        waits_for = {position: self._republish(one) for position, one in batch.republishes}
        if waits_for or len(self._ack_queue):
            self._ack_queue.extend(connection, batch.acks, waits_for)
        elif batch.acks:
            self._link.acknowledge(connection, batch.acks)
        self._on_stored()

    def _acknowledge(self) -> None:
        for connection, packet_ids in self._ack_queue.ready():
            self._link.acknowledge(connection, packet_ids)

    def _store(self, batch: Batch) -> None:
        again = self._retry.run(lambda: self._journal.write(batch))
        self._counters.stored += len(batch.records) - len(again)
        self._counters.duplicates += len(again)
        if self._log_messages:
            for number in range(len(batch.records)):
                self._log_message(batch, number, number not in again)

    def _store_parts(self, batch: Batch, error: RefusedError) -> None:
        """Store what can be stored of a batch that the database refuses, by halves down to the message at fault."""
        batch.close()
        if len(batch.records) > 1:
            for half in batch.halves():
                try:
                    self._store(half)
                except RefusedError as refusal:
                    self._store_parts(half, refusal)
        elif batch.records:
            self._poisoned(batch.places[0].device_id, error)
            self._store(Batch(batch.connection, batch.received_unix_ns))  # the count of it

    def _republish(self, one: Republish) -> int:
        message = one.message
        try:
            # An inferred boot has a nonce of ours, which no birth message names: the device's latest birth is meant.
            boot_nonce = None if message.origin == "seq" else message.boot_nonce
            return self._republisher.republish(
                message, one.delivery, self._births.of(message.device_id, boot_nonce).baggage
            )
        except Exception as error:  # noqa: BLE001
            self._counters.reject(message.device_id, "republish_impossible")
            self._log.warning("republish_impossible", topic=printable(message.topic), error=printable(str(error)))
            return 0

    def _answered(self, answer: Published) -> None:
        self._republisher.answered(answer.packet_id)
        self._ack_queue.answered(answer.packet_id)
        if answer.refused:
            self._counters.reject("", "republish_refused")
            self._log.warning("republish_refused", reason=answer.refused)
        else:
            self._counters.republished += 1

    def _poisoned(self, device_id: str, error: Exception) -> None:
        self._counters.reject(device_id, "internal_error")
        poisoned(self._log, device_id, error)

    def _log_message(self, batch: Batch, number: int, is_new: bool) -> None:
        found = record.unpack(batch.records[number])
        self._log.debug(
            "message" if is_new else "duplicate",
            **{"device.id": printable(batch.places[number].device_id)},
            trace_id=found.trace_id.hex(),
            span_id=found.span_id.hex(),
            seq=found.seq if found.numbered else None,
            origin=record.ORIGINS[found.kind >> 2 & 3],
        )


def poisoned(log: Log, device_id: str, error: Exception) -> None:
    """Say that a message was passed over because it broke what reads or writes it."""
    log.error(
        "message_broke_the_reader",
        **{"device.id": printable(device_id)},
        reason="internal_error",
        error=printable(f"{type(error).__name__}: {error}"),
        remedy="the message was counted and passed over; please report this as a bug",
    )
