"""mosquitto's own counters: whether it drops messages, here because a subscriber is too slow for its queue.

The broker publishes them retained and every few seconds (`sys_interval`), as decimal text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from motetrace_host.core.wire_error import WireError

DROPPED: Final = "$SYS/broker/publish/messages/dropped"
CONNECTED: Final = "$SYS/broker/clients/connected"
STORED: Final = "$SYS/broker/store/messages/count"
TOPICS: Final = (DROPPED, CONNECTED, STORED)
WARN_EVERY_S: Final = 60.0
REMEDY: Final = (
    "raise max_queued_messages in mosquitto.conf to at least messages per second x the longest stall in seconds, and "
    "max_inflight_messages to at least 1000; then look for the subscriber that stalls"
)
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class QueueWarning:
    """Something to log: `event` with `fields`."""

    event: str
    fields: dict[str, int | float | str] = field(default_factory=dict)


class BrokerQueue:
    """What the broker says of its queues, and when that is worth a warning: at most once a minute.

    A counter that is lower than before is a broker that was started again: it counts from there.

    Args:
        warn_every_s: >= 0.
    """

    def __init__(self, warn_every_s: float = WARN_EVERY_S) -> None:
        self.values: dict[str, int] = {}
        self.dropped = 0
        self._warn_every_s = warn_every_s
        self._warned_s: float | None = None
        self._told = 0
        self._first_s: float | None = None

    def hear(self, topic: str, payload: bytes, now_s: float) -> QueueWarning | None:
        """Take one value in.

        Args:
            topic: One of `TOPICS`; others are passed over.
            now_s: By a monotonic clock.
        Returns:
            A warning when messages were dropped since the last one and it is time for one, else None.
        Raises:
            WireError: `sys_value`: not a whole number.
        """
        if topic not in TOPICS:
            return None
        text = payload[:20].decode("ascii", "replace").strip()
        if not _NUMBER.fullmatch(text):
            raise WireError("sys_value", f"{topic} is {text!r}; a whole number of at most 18 digits is expected")
        value, before = int(text), self.values.get(topic)
        self.values[topic] = value
        if topic != DROPPED:
            return None
        if before is not None and value != before:
            # Below it the broker began again at 0, and all that it counts now it dropped since.
            self.dropped += value - before if value > before else value
            if self._first_s is None:
                self._first_s = now_s
        return self._warning(now_s)

    def _warning(self, now_s: float) -> QueueWarning | None:
        new = self.dropped - self._told
        if not new or (self._warned_s is not None and now_s - self._warned_s < self._warn_every_s):
            return None
        fields: dict[str, int | float | str] = {"dropped": new, "dropped_in_all": self.dropped}
        if self._first_s is not None:
            fields["since_s"] = round(now_s - self._first_s, 1)
        for name, topic in (("clients_connected", CONNECTED), ("messages_stored", STORED)):
            if topic in self.values:
                fields[name] = self.values[topic]
        fields["remedy"] = REMEDY
        self._warned_s, self._told, self._first_s = now_s, self.dropped, None
        return QueueWarning("broker_dropped_messages", fields)
