"""Where the network thread leaves what arrived until the pipeline takes it; bounded in messages and in bytes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from motetrace_host.core.link import Delivery, Published

MAX_BYTES = 64 << 20
_OVERHEAD_BYTES = 500  # about what an empty Delivery takes


class Inbox:
    """A bounded queue between two threads; putting never blocks.

    When it is full, a QoS 0 message is shed and counted: nobody would send it again. A QoS 1 message is held back, and
    with it all that follow on its connection: they are not acknowledged, so the broker sends them again, in order, once
    that connection is ended (`overdue`).

    Why the network thread must not wait instead: the broker's answers to our own publishes come behind the messages
    that do not fit, and acknowledging waits for those answers. The receive maximum should keep the broker from sending
    that much, but mosquitto 2.0.11 exceeds it.
    """

    def __init__(self, max_messages: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._deliveries: deque[Delivery] = deque()
        self._published: deque[Published] = deque()
        self._bytes = 0
        self._closed = False
        self._overflown = 0  # the connection that brought too much; connections count from 1
        self._told = False
        self._change = threading.Condition()
        self.shed = 0
        self.held_back = 0

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Leave messages in their order. What comes after `close` is dropped: it was not acknowledged."""
        with self._change:
            for delivery in deliveries:
                if self._closed:
                    return
                if not self._takes(delivery):
                    continue
                self._deliveries.append(delivery)
                self._bytes += len(delivery.packet.payload) + _OVERHEAD_BYTES
            self._change.notify_all()

    def overdue(self) -> int:
        """A connection on which messages were held back, once all before them are taken; 0 for none. Told once."""
        with self._change:
            if not self._overflown or self._told or self._deliveries:
                return 0
            self._told = True
            return self._overflown

    def put_published(self, published: Published) -> None:
        """Leave the broker's answer to a publish; never blocks. Bounded by what was published and not yet answered."""
        with self._change:
            self._published.append(published)
            self._change.notify_all()

    def take(self, max_messages: int, wait_s: float, gather_s: float) -> tuple[list[Delivery], list[Published]]:
        """Wait at most `wait_s` for the first item, then `gather_s` for company; both lists may be empty.

        With `max_messages` 0 only answers are waited for and taken.
        """
        with self._change:
            if not self._published and not (max_messages and self._deliveries):
                self._change.wait(wait_s)
            deadline = time.monotonic() + gather_s
            while self._deliveries and len(self._deliveries) < max_messages and not self._closed:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._change.wait(remaining):
                    break
            deliveries = [self._deliveries.popleft() for _ in range(min(max_messages, len(self._deliveries)))]
            self._bytes -= sum(len(delivery.packet.payload) + _OVERHEAD_BYTES for delivery in deliveries)
            published = list(self._published)
            self._published.clear()
            self._change.notify_all()
            return deliveries, published

    def close(self) -> None:
        """Take nothing more; what is in can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def __len__(self) -> int:
        return len(self._deliveries)

    def _takes(self, delivery: Delivery) -> bool:
        full = len(self._deliveries) >= self._max_messages or self._bytes >= self._max_bytes
        if delivery.packet.qos == 0:
            self.shed += full
            return not full
        if delivery.connection != self._overflown:
            if not full:
                return True
            self._overflown, self._told = delivery.connection, False
        self.held_back += 1
        return False
