"""What a shim is built on that differs: in a group of shims, and in a test."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from motetrace_host.core.mqtt.connection import Chunk, Receivers, Subscription
from motetrace_host.shim.config import Config
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.logging import Log
from motetrace_host.shim.own_ledger import OwnLedger


class BrokerConnection(Protocol):
    """The connection to the broker; see `network/subscriber.py`. In tests the test plays the broker."""

    qos_2: int

    def start(self) -> None: ...
    def stop(self, *, end_session: bool = False) -> None: ...
    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None: ...
    def renew(self, connection: int) -> None: ...
    def publish(
        self,
        topic: str,
        payload: bytes,
        user_properties: Sequence[tuple[str, str]],
        passthrough: Sequence[tuple[int, int | str | bytes]],
    ) -> int: ...


class Membership:
    """Takes messages in for as long as the shim runs; `cluster/departure.py` is one that leaves its group.

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


Connect = Callable[[Config, str, Sequence[Subscription], Receivers, bool], BrokerConnection]
"""Makes the connection for a client id; the last argument: the shim leaves its group."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What is chosen by who builds a shim.

    Attributes:
        log: of all parts.
        connect: see `Connect`.
        ledger: where the numbers that were seen are counted.
        membership: makes what decides how long it stays, of inbox, counters, and the number of unsent spans.
        random_bytes: as `os.urandom`.
        stop: ends the shim when it is set.
    """

    log: Log
    connect: Connect
    ledger: OwnLedger
    membership: Callable[[Inbox, Counters, Callable[[], int]], Membership] = Membership
    random_bytes: Callable[[int], bytes] = os.urandom
    stop: threading.Event = field(default_factory=threading.Event)
