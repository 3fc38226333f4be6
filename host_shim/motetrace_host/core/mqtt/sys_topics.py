"""The topics on which a broker keeps word of itself: when to ask for them, and whether the broker likes that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from motetrace_host.core.mqtt.framing import Frame

PREFIX: Final = "$SYS/"
ASK_EVERY_S: Final = 15.0
TRIES: Final = 2
_STARTS: Final = PREFIX.encode()


class Watch:
    """What is watched on one broker, over all connections to it.

    Asked for at QoS 0 and again and again: a broker publishes there what has changed, but not to a subscriber whose
    queue is full, so the one who is too slow would not hear of it. What is retained it sends whenever it is asked.

    Some brokers refuse, and some end the connection when they are asked. Either is the end of the watch; the latter
    when it has happened twice in a row, for a connection may end by itself.

    Args:
        topics: without wildcards, beginning with `$SYS/`; none: nothing is watched.
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

    def asked(self, packet_id: int) -> None:
        """They were subscribed to, in one packet."""
        self._packet_id = packet_id

    def answers(self, packet_id: int) -> bool:
        """Whether a SUBACK is for these topics."""
        return packet_id == self._packet_id != 0

    def answered(self, refusals: Sequence[str]) -> str:
        """The SUBACK has come, with so many refusals; gives why the watch ends now, or ""."""
        self._packet_id = 0
        self._ended_in_a_row = 0
        return self._stop(refusals[0]) if len(refusals) == len(self._topics) else ""

    def ended(self) -> str:
        """The connection has ended; gives why the watch ends now, or "". The next connection is asked at once."""
        self._next_s = 0.0
        self._ended_in_a_row += self._packet_id != 0
        self._packet_id = 0
        return self._stop("the connection ends when it is asked") if self._ended_in_a_row >= TRIES else ""

    def hears(self, frame: Frame) -> bool:
        """Whether a PUBLISH is of these topics, at QoS 0 as they were asked for."""
        first, body = frame
        return not first & 6 and body.startswith(_STARTS, 2) and body[2 : 2 + int.from_bytes(body[:2])] in self._names

    def _stop(self, why: str) -> str:
        self._topics, self._ended_in_a_row = [], 0
        return why
