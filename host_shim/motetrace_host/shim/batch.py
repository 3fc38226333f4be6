"""What one transaction writes: the messages that were read together, ready for the disk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from motetrace_host.core.ledger.delta import Delta
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import Message
from motetrace_host.core.mqtt.connection import Delivery
from motetrace_host.shim.device_topics import BootRun, DeviceTopic

HOP = "shim"


class Republish(NamedTuple):
    """A message that is to be published once more."""

    message: Message
    delivery: Delivery


class Batch:
    """Messages of one connection, in order of arrival.

    Attributes:
        id: given by the journal at its first attempt to write; the same at the next.
        records, places: one entry per message; a record's number here is its number in the block.
        extras, keys, faults: by number, of the few messages that have them.
        acks: packet ids to acknowledge, in the order of arrival of everything, readings or not.
        republishes: with their position in `acks`, -1 for what needs no acknowledgement.
    """

    def __init__(self, connection: int, received_unix_ns: int) -> None:
        self.id = 0
        self.connection = connection
        self.received_unix_ns = received_unix_ns
        self.records: list[bytes] = []
        self.places: list[DeviceTopic] = []
        self.extras: dict[int, bytes] = {}
        self.keys: dict[int, bytes] = {}
        self.faults: dict[int, tuple[str, ...]] = {}
        self.runs: list[BootRun] = []
        self.acks: list[int] = []
        self.republishes: list[tuple[int, Republish]] = []

    def add(self, message: Message, place: DeviceTopic, decision: int, threshold_id: int) -> None:
        """Add a message that went the long way."""
        packed, extra = record.pack(message, place.id, decision, threshold_id)
        number = len(self.records)
        self.records.append(packed)
        self.places.append(place)
        if extra:
            self.extras[number] = extra
            if not record.unpack(packed).numbered and not message.origin.startswith("none"):
                self.keys[number] = message.key
        if message.faults:
            self.faults[number] = message.faults

    def saw(self, run: BootRun, seq: int) -> None:
        """Note the number of a message."""
        if not run.open:
            self.runs.append(run)
        elif run.end + 1 == seq:
            run.end = seq
            return
        run.begin(seq)

    def deltas(self) -> list[Delta]:
        """What the ledger is to merge, in the order of `runs`."""
        at_unix_ms = self.received_unix_ns // 1_000_000
        make = tuple.__new__  # as Delta(...), at a third of the price
        return [
            make(
                Delta,
                (
                    run.device_id,
                    run.boot_nonce,
                    HOP,
                    [*run.before, (run.start, run.end)],
                    at_unix_ms,
                    None if run.known else run.expected_first,
                ),
            )
            for run in self.runs
        ]

    def close(self) -> None:
        """Nothing of it is needed any more."""
        for run in self.runs:
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
        self.places.append(other.places[number])
        if found.numbered:
            # A run of its own: that of the whole batch is still in the other's hands.
            run = BootRun(other.places[number].device_id, found.boot_nonce)
            run.begin(found.seq)
            self.runs.append(run)
