"""What the broker reports of its own queues, as lines in the log and a number in the summary."""

from __future__ import annotations

import time
from collections.abc import Callable

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.sys_topics import BrokerQueue
from motetrace_host.shim.logging import Log


class BrokerWatch:
    """Receives the topics of `core/mqtt/sys_topics`, on the network thread: it works while the disk does not.

    Args:
        now_s: a monotonic clock.
    """

    def __init__(self, log: Log, now_s: Callable[[], float] = time.monotonic) -> None:
        self._queue = BrokerQueue()
        self._log = log
        self._now_s = now_s
        self._unreadable = False

    def receive(self, packet: PublishPacket) -> None:
        """Take in what the broker reports; warn when it has dropped messages."""
        try:
            warning = self._queue.add(packet.topic, packet.payload, self._now_s())
        except WireError as error:
            if not self._unreadable:
                self._log.warning("broker_queue_unreadable", error=str(error))
            self._unreadable = True
            return
        self._log.debug("broker_queue", topic=packet.topic, dropped=self._queue.dropped)
        if warning is not None:
            self._log.warning("broker_dropped_messages", **warning)

    @property
    def dropped(self) -> int:
        """Messages to any of its subscribers that the broker has dropped since the shim began."""
        return self._queue.dropped
