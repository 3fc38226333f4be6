"""How many messages a broker sends before it waits for our acknowledgements, learned from how they come."""

from __future__ import annotations

from typing import Final

_SURE: Final = 5  # times in a row
_PROBE: Final = 64  # takes from one doubt to the next


class InflightWindow:
    """For how many messages the pipeline waits before it begins a batch.

    A broker with a narrow window (RabbitMQ: 10 messages by default, EMQX: 32) sends that many and then nothing until we
    acknowledge. Waiting for more then delays the whole fleet: 10 messages every 6 ms are 1,600 a second. CONNACK does
    not name it (its receive maximum is that of the other direction); it shows as
    batches of the same size again and again.

    Args:
        most: messages of a batch while nothing is known.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._window = 0
        self._last = self._times = self._takes = 0

    @property
    def enough(self) -> int:
        """How many messages are enough to begin."""
        doubted = self._takes % _PROBE == 0
        return self._most if doubted or not self._window else self._window

    def took(self, messages: int) -> None:
        """A batch was taken by `enough`, after the whole time for company when it has fewer."""
        waited = messages < self.enough
        self._takes += 1
        if messages > self._window:
            self._window = 0
        if not waited:
            return
        self._times = self._times + 1 if messages == self._last else 0
        self._last = messages
        if self._times >= _SURE and messages > 1:
            self._window = messages
