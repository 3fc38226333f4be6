"""What one transaction writes: the messages that were read together, ready for the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import IdentifiedMessage
from motetrace_host.core.mqtt.connection import Delivery
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.boot_runs import BootRun
from motetrace_host.shim.device_topics import DeviceTopic
from motetrace_host.storage.boot_table import BootTable

HOP = "shim"


class Republish(NamedTuple):
    """A message that is to be published once more."""

    message: IdentifiedMessage
    delivery: Delivery


class Batch(BatchParticipant):
    """Messages of one connection, in order of arrival.

    Attributes:
        id: given by the journal at its first attempt to write; the same at the next.
        records, topics: one entry per message; a record's number here is its number in the block.
        extras, keys, faults: by number, of the few messages that have them.
        boot_runs: those with numbers of this batch.
        acks: packet ids to acknowledge, in the order of arrival of everything, readings or not.
        republishes: with their position in `acks`, -1 for what needs no acknowledgement.
    """

    def __init__(self, connection: int, received_unix_ns: int) -> None:
        self.id = 0
        self.connection = connection
        self.received_unix_ns = received_unix_ns
        self.records: list[bytes] = []
        self.topics: list[DeviceTopic] = []
        self.extras: dict[int, bytes] = {}
        self.keys: dict[int, bytes] = {}
        self.faults: dict[int, tuple[str, ...]] = {}
        self.boot_runs: list[BootRun] = []
        self.acks: list[int] = []
        self.republishes: list[tuple[int, Republish]] = []

    def add(
        self,
        message: IdentifiedMessage,
        topic: DeviceTopic,
        decision: int,
        threshold_id: int,
        run: BootRun | None,
        republish: Republish | None,
    ) -> None:
        """Add a message that went the long way, before its acknowledgement.

        Args:
            run: of its boot; None when it has no number.
        """
        packed, extra = record.pack(message, topic.id, decision, threshold_id)
        number = len(self.records)
        if run is not None and message.ids.seq is not None:
            self.saw(run, message.ids.seq)
        elif extra and not message.context.origin.startswith("none"):
            self.keys[number] = message.ids.key
        self.records.append(packed)
        self.topics.append(topic)
        if extra:
            self.extras[number] = extra
        faults = message.faults
        if faults:
            self.faults[number] = faults
        if republish is not None:
            self.republishes.append((len(self.acks) if republish.delivery.packet.packet_id else -1, republish))

    def saw(self, run: BootRun, seq: int) -> None:
        """Note the number of a message."""
        if not run.open:
            self.boot_runs.append(run)
        elif run.end + 1 == seq:
            run.end = seq
            return
        run.begin(seq)

    def runs(self) -> list[SeenRuns]:
        """The numbers of its messages, in the order of `boot_runs`."""
        at_unix_ms = self.received_unix_ns // 1_000_000
        make = tuple.__new__  # as SeenRuns(...), at a third of the price
        return [
            make(
                SeenRuns,
                (
                    run.device_id,
                    run.boot_nonce,
                    HOP,
                    [*run.before, (run.start, run.end)],
                    at_unix_ms,
                    None if run.known else run.expected_first,
                ),
            )
            for run in self.boot_runs
        ]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the boots that the ledger does not have yet."""
        BootTable(connection).add_boots(
            (run.device_id, run.boot_nonce, run.inferred, self.received_unix_ns)
            for run in self.boot_runs
            if not run.known
        )

    def committed(self) -> None:
        for run in self.boot_runs:
            run.known = True
        self.close()

    def close(self) -> None:
        """Give its runs back, for the next batch."""
        for run in self.boot_runs:
            run.open = False

    def halves(self) -> Iterable[Batch]:
        """The same messages in two batches without acknowledgements, to find the one that the disk refuses."""
        middle = len(self.records) // 2
        for numbers in (range(middle), range(middle, len(self.records))):
            half = Batch(self.connection, self.received_unix_ns)
            for number in numbers:
                half._take(self, number)
            yield half

    def _take(self, other: Batch, number: int) -> None:
        for mine, theirs in ((self.extras, other.extras), (self.keys, other.keys)):
            if number in theirs:
                mine[len(self.records)] = theirs[number]
        if number in other.faults:
            self.faults[len(self.records)] = other.faults[number]
        found = record.unpack(other.records[number])
        self.records.append(other.records[number])
        self.topics.append(other.topics[number])
        if found.numbered:
            # A run of its own: that of the whole batch is still in the other's hands.
            boots = other.topics[number].boots
            run, whole = BootRun(boots.device_id, found.boot_nonce), boots.runs.get(found.boot_nonce)
            run.inferred = found.inferred
            run.expected_first = whole.expected_first if whole else None
            run.begin(found.seq)
            self.boot_runs.append(run)
