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
    """A bounded queue between two threads.

    When it is full, a QoS 0 message is shed and counted (nobody would send it again); at QoS 1 the network thread
    waits, so that TCP and the receive maximum hold the broker back.
    """

    def __init__(self, max_messages: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._deliveries: deque[Delivery] = deque()
        self._published: deque[Published] = deque()
        self._bytes = 0
        self._closed = False
        self._change = threading.Condition()
        self.shed = 0

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Leave messages in their order; may block. What comes after `close` is dropped: it was not acknowledged."""
        with self._change:
            for delivery in deliveries:
                while self._full() and delivery.packet.qos and not self._closed:
                    self._change.notify_all()
                    self._change.wait()
                if self._closed:
                    return
                if self._full():
                    self.shed += 1
                    continue
                self._deliveries.append(delivery)
                self._bytes += len(delivery.packet.payload) + _OVERHEAD_BYTES
            self._change.notify_all()

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

    def _full(self) -> bool:
        return len(self._deliveries) >= self._max_messages or self._bytes >= self._max_bytes
