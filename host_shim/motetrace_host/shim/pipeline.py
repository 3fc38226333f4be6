"""From the inbox to the disk, and only then back to the broker as an acknowledgement."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from motetrace_host.core import hops, otlp_span
from motetrace_host.core.link import Delivery, Published
from motetrace_host.core.message import Message
from motetrace_host.core.printable import printable
from motetrace_host.core.span import SpanRow
from motetrace_host.core.store_error import StoreError
from motetrace_host.shim.ack_line import AckLine
from motetrace_host.shim.births import Births, Known
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.reader import Reader
from motetrace_host.shim.republisher import Republisher
from motetrace_host.shim.tally import Tally

BATCH_MESSAGES = 500
GATHER_S = 0.005
_MAX_UNANSWERED = 10_000  # republishes; beyond it nothing is taken from the inbox
_BACKOFF_S = (0.1, 15.0)


class Link(Protocol):
    """What is needed of the broker's connection."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None: ...
    def renew(self, connection: int) -> None: ...


class Log(Protocol):
    """What is needed of a structured logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the messages come through: the broker as `host:port`, and our client id there."""

    broker: str
    client_id: str


@dataclass(slots=True)
class _Reading:
    """A delivery on its way: its message (None: nothing to store) and spans."""

    delivery: Delivery
    message: Message | None = None
    rows: tuple[SpanRow, ...] = ()


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
        tally: Tally,
        place: Place,
        log: Log,
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
        self._tally = tally
        self._place = place
        self._log = log
        self._log_messages = log_messages
        self._on_failure = on_failure
        self._on_stored = on_stored
        self._ack_line = AckLine()
        self._connection = 0
        self._closing = threading.Event()
        self._abandon = threading.Event()
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
        self._abandon.set()
        self._thread.join(1.0)
        return not (self._thread.is_alive() or len(self._inbox) or len(self._ack_line))

    def _run(self) -> None:
        try:
            while not self._abandon.is_set():
                takes = BATCH_MESSAGES if len(self._republisher) < _MAX_UNANSWERED else 0
                deliveries, published = self._inbox.take(takes, 0.05 if self._closing.is_set() else 0.5, GATHER_S)
                for answer in published:
                    self._answered(answer)
                # By connection: what a reconnect repeats is looked up in the ledger, the first sending must be there.
                for connection, group in itertools.groupby(deliveries, lambda delivery: delivery.connection):
                    self._batch(connection, list(group))
                self._link.acknowledge(self._ack_line.ready())
                if not self._closing.is_set() and not len(self._ack_line) and (overflown := self._inbox.overdue()):
                    self._link.renew(overflown)
                if self._closing.is_set() and not deliveries and not len(self._inbox) and not len(self._ack_line):
                    return
        except _AbandonedError:
            pass
        except Exception as error:  # noqa: BLE001
            self._log.error("pipeline_failed", error=f"{type(error).__name__}: {error}")
            self._on_failure(str(error))

    def _batch(self, connection: int, deliveries: list[Delivery]) -> None:
        if connection != self._connection:
            self._connection = connection
            self._patiently(self._journal.connected)
        readings = [self._read(delivery) for delivery in deliveries]
        try:
            self._store(readings)
        except _RefusedError:
            # One of them is at fault, or all would be: then storing nothing fails, too, and the shim has to end.
            self._store([])
            for reading in readings:
                self._store_alone(reading)
        for reading in readings:
            packet_id = self._republish(reading)
            if reading.delivery.packet.packet_id:
                self._ack_line.append(reading.delivery, packet_id)
        self._on_stored()

    def _read(self, delivery: Delivery) -> _Reading:
        reading = _Reading(delivery)
        self._tally.received += 1
        try:
            message = self._reader.read(delivery)
            if message is not None:
                attributes = self._birth(message).attributes
                spans = hops.spans(message, attributes, self._place.broker, self._place.client_id)
                reading.rows = tuple(otlp_span.pack(span) for span in spans)
                reading.message = message
        except Exception as error:  # noqa: BLE001 (whatever a device sent, the next message is read)
            self._poisoned(delivery, error)
        return reading

    def _store(self, readings: Sequence[_Reading]) -> None:
        known = [(reading.message, reading.rows) for reading in readings if reading.message is not None]
        new = self._patiently(lambda: self._journal.write(known))
        for (message, _), is_new in zip(known, new, strict=True):
            if is_new:
                self._tally.stored += 1
            else:
                self._tally.duplicates += 1
            if self._log_messages:
                self._log_message(message, is_new)

    def _store_alone(self, reading: _Reading) -> None:
        try:
            self._store([reading])
        except _RefusedError as error:
            reading.message = None
            self._poisoned(reading.delivery, error)
            self._store([])  # the count of it

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do something on the database, again and again while a retry may help."""
        delay = _BACKOFF_S[0]
        while True:
            try:
                return work()
            except StoreError as error:
                if not error.retry:
                    raise _RefusedError(str(error)) from error
                self._log.error("storing_waits", error=str(error), retry_in_s=round(delay, 1), waiting=len(self._inbox))
                if self._abandon.wait(delay):
                    raise _AbandonedError from error
                delay = min(delay * 2, _BACKOFF_S[1])
            except Exception as error:  # (a value that SQLite cannot take)
                raise _RefusedError(f"{type(error).__name__}: {error}") from error

    def _republish(self, reading: _Reading) -> int:
        if reading.message is None:
            return 0
        try:
            return self._republisher.republish(reading.message, reading.delivery, self._birth(reading.message).baggage)
        except Exception as error:  # noqa: BLE001
            self._tally.reject(reading.message.device_id, "republish_impossible")
            self._log.warning(
                "republish_impossible", topic=printable(reading.message.topic), error=printable(str(error))
            )
            return 0

    def _birth(self, message: Message) -> Known:
        # An inferred boot has a nonce of ours, which no birth message names: the device's latest birth is meant.
        return self._births.of(message.device_id, None if message.origin == "seq" else message.boot_nonce)

    def _answered(self, answer: Published) -> None:
        self._republisher.answered(answer.packet_id)
        self._ack_line.answered(answer.packet_id)
        if answer.refused:
            self._tally.reject("", "republish_refused")
            self._log.warning("republish_refused", reason=answer.refused)
        else:
            self._tally.republished += 1

    def _poisoned(self, delivery: Delivery, error: Exception) -> None:
        device_id = self._reader.device_of(delivery.packet.topic)
        self._tally.reject(device_id, "internal_error")
        self._log.error(
            "message_broke_the_reader",
            **{"device.id": printable(device_id)},
            reason="internal_error",
            error=printable(f"{type(error).__name__}: {error}"),
            remedy="the message was counted and passed over; please report this as a bug",
        )

    def _log_message(self, message: Message, is_new: bool) -> None:
        self._log.debug(
            "message" if is_new else "duplicate",
            **{"device.id": printable(message.device_id)},
            trace_id=message.trace_id.hex(),
            span_id=message.span_id.hex(),
            seq=message.seq,
            origin=message.origin,
        )


class _RefusedError(Exception):
    """The database refuses this work, and a retry would not help."""


class _AbandonedError(Exception):
    """Stopping: the disk did not come back in time."""
