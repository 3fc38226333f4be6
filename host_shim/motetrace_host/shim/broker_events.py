"""The side topic to which EMQX republishes what it dropped: `<prefix><any name>/dropped`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.wire import emqx_drop
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.storage import side_tables
from motetrace_host.storage.side_tables import DropCount

_REMEMBERED: Final = 10_000
_Key = tuple[str, str, str, str]


class BrokerEvents(SideTopic):
    """Counts the messages that a broker dropped, by device, receiver and reason.

    An event that is delivered again is known by its message id while that is remembered: among the last 10,000, not
    over a restart. What then counts twice are the counters; the ledger's sets do not.

    Args:
        prefix: Of the side topics, such as `motetrace/`.
        topics: Of the readings, to find the device of a dropped message.
    """

    def __init__(self, prefix: str, topics: Sequence[TopicTemplate]) -> None:
        super().__init__(prefix + "{device_id}/dropped")
        self.repeated = 0
        self._topics = topics
        self._known: dict[tuple[str, str, str], None] = {}
        self._seen_runs: list[SeenRuns] = []
        self._counts: dict[_Key, tuple[int, int]] = {}

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take one event in; `device_id` is whatever the rule put there, such as the broker's name.

        Raises:
            WireError: an `event_*` reason.
        """
        drop = emqx_drop.parse(packet.payload)
        device = drop.device_id(self._topics)
        seen_runs = [] if device is None else drop.seen_runs(device, received_unix_ns // 1_000_000)
        if drop.message_id and not self._is_new((drop.message_id, drop.event, drop.receiver)):
            self.repeated += 1
            return
        self._seen_runs += seen_runs
        key = (device or "", drop.receiver, drop.event, drop.reason)
        count, unnamed = self._counts.get(key, (0, 0))
        self._counts[key] = (count + 1, unnamed + (not seen_runs))

    def runs(self) -> list[SeenRuns]:
        """The messages that were dropped."""
        return self._seen_runs

    def save(self, connection: sqlite3.Connection) -> None:
        """Add to the counts of reasons."""
        if self._counts:
            side_tables.add_drops(connection, [DropCount(*key, *counts) for key, counts in self._counts.items()])

    def committed(self) -> None:
        self._counts.clear()
        self._seen_runs = []

    def _is_new(self, event: tuple[str, str, str]) -> bool:
        if event in self._known:
            return False
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[event] = None
        return True
