"""The side topic on which devices say what became of their messages: `<prefix><device>/stats`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from motetrace_host.core.ledger.delta import Delta
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.wire import device_stats
from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.storage import device_stats as device_stats_store


class DeviceStatistics:
    """Takes stats messages in.

    Args:
        prefix: Of the side topics, such as `motetrace/`.
    """

    retained = False

    def __init__(self, prefix: str) -> None:
        self.template = TopicTemplate(prefix + "{device_id}/stats")
        self._heard: list[tuple[str, DeviceStats, int]] = []

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take one message in.

        Raises:
            WireError: a `stats_*` reason.
        """
        self._heard.append((device_id, device_stats.parse(packet.payload), received_unix_ns // 1_000_000))

    def runs(self) -> Iterable[Delta]:
        """Give the numbers whose publish failed, for the ledger."""
        for device_id, stats, heard_unix_ms in self._heard:
            yield from stats.deltas(device_id, heard_unix_ms)

    def save(self, connection: sqlite3.Connection) -> None:
        """Keep the latest message of each boot; inside the transaction that takes the deltas."""
        device_stats_store.save(connection, self._heard)

    def committed(self) -> None:
        """All of it is on disk."""
        self._heard.clear()
