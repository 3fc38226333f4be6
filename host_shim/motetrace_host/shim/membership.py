"""How long a shim stays: until it is stopped. `cluster/departure.py` is one that leaves its group."""

from __future__ import annotations

from collections.abc import Callable

from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.inbox import Inbox


class Membership:
    """Takes messages in for as long as the shim runs.

    Args:
        unsent: how many messages and spans still wait for the trace backend.
    Attributes:
        leaving: end the subscriptions, work off what the broker has kept, and end the session.
    """

    leaving = False

    def __init__(self, inbox: Inbox, counters: Counters, unsent: Callable[[], int]) -> None:
        self._inbox = inbox
        self._counters = counters
        self._unsent = unsent

    def put(self, chunk: Chunk) -> None:
        """Leave messages in the inbox; on the network thread."""
        self._inbox.put(chunk)

    def stored(self) -> None:
        """All that was read is stored and acknowledged; on the pipeline's thread."""

    def connection_event(self, event: str) -> None:
        """The connection to the broker changed; see `Subscriber`."""

    @property
    def over(self) -> bool:
        """There is nothing more to stay for."""
        return False
