"""Messages that wait to be acknowledged, in the order they arrived."""

from __future__ import annotations

from collections import deque

from motetrace_host.core.link import Delivery


class AckLine:
    """Gives deliveries back in order of arrival, once neither they nor one before them waits for a republish.

    In order, because MQTT wants it so (MQTT 5.0, 4.6) and because a broker may count on it.
    """

    def __init__(self) -> None:
        self._line: deque[tuple[Delivery, int]] = deque()
        self._unanswered: set[int] = set()

    def append(self, delivery: Delivery, packet_id: int = 0) -> None:
        """Add a delivery that is on disk; `packet_id` names the republish it waits for, 0 for none."""
        self._line.append((delivery, packet_id))
        if packet_id:
            self._unanswered.add(packet_id)

    def answered(self, packet_id: int) -> None:
        """The broker has the republish."""
        self._unanswered.discard(packet_id)

    def ready(self) -> list[Delivery]:
        """Take those that may be acknowledged now."""
        ready = []
        while self._line and self._line[0][1] not in self._unanswered:
            ready.append(self._line.popleft()[0])
        return ready

    def __len__(self) -> int:
        return len(self._line)
