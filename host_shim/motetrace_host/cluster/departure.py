"""When a shim that leaves its group may end its session: when nothing of what the broker kept for it is left.

A broker such as mosquitto goes on giving an absent member its share, and keeps it until the session expires: that
share would be lost with a shim that never comes back. So a shim leaves in this order: unsubscribe, so that the others
get everything from now on; work off what was kept; send its spans on; end the session.

No broker announces that its queue is empty. It sends as long as it has something and the receive maximum allows it, so
the queue is empty when everything that came is acknowledged and nothing more comes for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.ports import Membership

QUIET_S = 5.0


class Departure(Membership):
    """Watches what comes in and what was stored."""

    leaving = True

    def __init__(
        self, inbox: Inbox, counters: Counters, unsent: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(inbox, counters, unsent)
        self._clock = clock
        self._arrived = 0
        self._stored = 0
        self._unsubscribed = False
        self._changed = clock()

    def put(self, chunk: Chunk) -> None:
        self._changed = self._clock()
        self._arrived += len(chunk.frames)
        super().put(chunk)

    def stored(self) -> None:
        self._stored = self._counters.received

    def connection_event(self, event: str) -> None:
        self._changed = self._clock()
        self._unsubscribed = event == "unsubscribed"

    @property
    def over(self) -> bool:
        """Nothing is left, here or at the broker."""
        if not self._unsubscribed or self._clock() - self._changed < QUIET_S:
            return False
        taken = self._arrived - self._inbox.shed - self._inbox.held_back
        return self._stored == taken and not self._unsent()
