"""The topics under `$SYS/` on which a broker publishes its own counters: when to subscribe, and what they say.

mosquitto publishes there, retained and every few seconds (`sys_interval`), as decimal text, whether it drops messages:
for a shim, because a subscriber is too slow for its queue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.framing import Frame

PREFIX: Final = "$SYS/"
ASK_EVERY_S: Final = 15.0
TRIES: Final = 2
DROPPED: Final = "$SYS/broker/publish/messages/dropped"
CONNECTED: Final = "$SYS/broker/clients/connected"
STORED: Final = "$SYS/broker/store/messages/count"
TOPICS: Final = (DROPPED, CONNECTED, STORED)
WARN_EVERY_S: Final = 60.0
REMEDY: Final = (
    "raise max_queued_messages in mosquitto.conf to at least messages per second x the longest stall in seconds, and "
    "max_inflight_messages to at least 1000; then look for the subscriber that stalls"
)
_STARTS: Final = PREFIX.encode()
_NUMBER: Final = re.compile(r"[0-9]{1,18}")

Fields = dict[str, int | float | str]


class SysTopics:
    """When to subscribe to such topics on one broker, over all connections to it.

    Subscribed to at QoS 0 and again and again: a broker publishes there what has changed, but not to a subscriber whose
    queue is full, so the one that is too slow would not get it. What is retained it sends at each subscription.

    Some brokers refuse, and some end the connection upon such a subscription. After either it is not tried again; after
    the latter when it has happened twice in a row, for a connection may end by itself.

    Args:
        topics: without wildcards, beginning with `$SYS/`; none: nothing is subscribed to.
        every_s: > 0.
    """

    def __init__(self, topics: Sequence[str] = (), every_s: float = ASK_EVERY_S) -> None:
        self._topics = list(topics)
        self._every_s = every_s
        self._names = frozenset(topic.encode() for topic in topics)
        self._next_s = 0.0
        self._packet_id = 0  # of the SUBSCRIBE that is not answered
        self._ended_in_a_row = 0

    def due(self, now_s: float) -> list[str]:
        """The topics to subscribe to now; mostly none. Time by a monotonic clock."""
        if not self._topics or now_s < self._next_s:
            return []
        self._next_s = now_s + self._every_s
        return self._topics

    def subscribed(self, packet_id: int) -> None:
        """Note the packet in which they were subscribed to."""
        self._packet_id = packet_id

    def is_reply(self, packet_id: int) -> bool:
        """Whether a SUBACK is for these topics."""
        return packet_id == self._packet_id != 0

    def replied(self, refusals: Sequence[str]) -> str:
        """Take the SUBACK with its refusals; gives why there is an end of it now, or ""."""
        self._packet_id = 0
        self._ended_in_a_row = 0
        return self._stop(refusals[0]) if len(refusals) == len(self._topics) else ""

    def disconnected(self) -> str:
        """Note that the connection has ended, likewise. The next one subscribes at once."""
        self._next_s = 0.0
        self._ended_in_a_row += self._packet_id != 0
        self._packet_id = 0
        return self._stop("the connection ends when it is asked") if self._ended_in_a_row >= TRIES else ""

    def matches(self, frame: Frame) -> bool:
        """Whether a PUBLISH is of these topics, at QoS 0 as they were subscribed to."""
        first, body = frame
        return not first & 6 and body.startswith(_STARTS, 2) and body[2 : 2 + int.from_bytes(body[:2])] in self._names

    def _stop(self, why: str) -> str:
        self._topics, self._ended_in_a_row = [], 0
        return why


class BrokerQueue:
    """The broker's counters of its queues, and when they are worth a warning: at most once a minute.

    A counter that is lower than before is a broker that was started again: it counts from there.

    Args:
        warn_every_s: >= 0.
    """

    def __init__(self, warn_every_s: float = WARN_EVERY_S) -> None:
        self.values: dict[str, int] = {}
        self.dropped = 0
        self._warn_every_s = warn_every_s
        self._warned_s: float | None = None
        self._warned_of = 0
        self._first_s: float | None = None

    def add(self, topic: str, payload: bytes, now_s: float) -> Fields | None:
        """Take one value in.

        Args:
            topic: One of `TOPICS`; others are ignored.
            now_s: By a monotonic clock.
        Returns:
            What to warn of, when messages were dropped since the last warning and it is time for one, else None.
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
        new = self.dropped - self._warned_of
        if not new or (self._warned_s is not None and now_s - self._warned_s < self._warn_every_s):
            return None
        return self._warning(new, now_s)

    def _warning(self, new: int, now_s: float) -> Fields:
        fields: Fields = {"dropped": new, "dropped_in_all": self.dropped}
        if self._first_s is not None:
            fields["since_s"] = round(now_s - self._first_s, 1)
        for name, topic in (("clients_connected", CONNECTED), ("messages_stored", STORED)):
            if topic in self.values:
                fields[name] = self.values[topic]
        fields["remedy"] = REMEDY
        self._warned_s, self._warned_of, self._first_s = now_s, self.dropped, None
        return fields
