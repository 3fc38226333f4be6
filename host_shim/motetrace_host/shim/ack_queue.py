"""Packets that wait to be acknowledged, in the order they arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence


class AckQueue:
    """Acknowledges packets in order of arrival, once neither they nor one before them waits for a republish.

    In order, because MQTT wants it so (MQTT 5.0, 4.6) and because a broker may count on it.

    Args:
        acknowledge: called with a connection and packet ids.
    """

    def __init__(self, acknowledge: Callable[[int, Sequence[int]], None]) -> None:
        self._acknowledge = acknowledge
        self._waiting: deque[tuple[int, int, int]] = deque()
        self._unanswered: set[int] = set()

    def extend(self, connection: int, packet_ids: Sequence[int], waits_for: Mapping[int, int]) -> None:
        """Add packets that are on disk.

        Args:
            waits_for: by position in `packet_ids`, the packet id of the republish that one waits for.
        """
        if packet_ids and not waits_for and not self._waiting:
            self._acknowledge(connection, packet_ids)
            return
        for position, packet_id in enumerate(packet_ids):
            republish = waits_for.get(position, 0)
            self._waiting.append((connection, packet_id, republish))
            if republish:
                self._unanswered.add(republish)

    def answered(self, packet_id: int) -> None:
        """The broker has the republish."""
        self._unanswered.discard(packet_id)

    def flush(self) -> None:
        """Acknowledge those that may be acknowledged now."""
        ready: list[tuple[int, list[int]]] = []
        while self._waiting and self._waiting[0][2] not in self._unanswered:
            connection, packet_id, _ = self._waiting.popleft()
            if not ready or ready[-1][0] != connection:
                ready.append((connection, []))
            ready[-1][1].append(packet_id)
        for connection, packet_ids in ready:
            self._acknowledge(connection, packet_ids)

    def __len__(self) -> int:
        return len(self._waiting)
