"""The side topic on which devices report what became of their messages: `<prefix><device>/stats`."""

from __future__ import annotations

import sqlite3

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import device_stats
from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.storage import side_tables


class DeviceStatistics(SideTopic):
    """Takes in the stats messages of devices, and keeps the latest of each boot.

    Args:
        prefix: Of the side topics, such as `motetrace/`.
    """

    from_device = True

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix + "{device_id}/stats")
        self._unsaved: list[tuple[str, DeviceStats, int]] = []

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take one message in.

        Raises:
            WireError: a `stats_*` reason.
        """
        self._unsaved.append((device_id, device_stats.parse(packet.payload), received_unix_ns // 1_000_000))

    def runs(self) -> list[SeenRuns]:
        """The numbers whose publish failed."""
        return [
            seen for device_id, stats, at_unix_ms in self._unsaved for seen in stats.seen_runs(device_id, at_unix_ms)
        ]

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the latest message of each boot."""
        side_tables.save_stats(connection, self._unsaved)

    def committed(self) -> None:
        self._unsaved.clear()
