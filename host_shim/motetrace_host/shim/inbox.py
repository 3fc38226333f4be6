"""Where the network thread leaves what arrived until the pipeline takes it; bounded in messages and in bytes."""

from __future__ import annotations

import threading
import time
from collections import deque

from motetrace_host.core.mqtt.connection import Chunk, Published

MAX_BYTES = 64 << 20


class Inbox:
    """A bounded queue between two threads; putting never blocks.

    It takes whole chunks while it is not full, so it holds at most one chunk more than its bounds. When it is full,
    a QoS 0 message is shed and counted: it would not be sent again. A QoS 1 message is held back, and with it all that
    follow on its connection: they are not acknowledged, so the broker sends them again, in order, once that connection
    is ended (`overdue`).

    Why the network thread must not wait instead: the broker's answers to our own publishes come behind the messages
    that do not fit, and acknowledging waits for those answers. The receive maximum should keep the broker from sending
    that much, but mosquitto 2.0.11 exceeds it.
    """

    def __init__(self, max_messages: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._chunks: deque[Chunk] = deque()
        self._published: deque[Published] = deque()
        self._messages = 0
        self._bytes = 0
        self._closed = False
        self._overflown = 0  # the connection that brought too much; connections count from 1
        self._given = False
        self._change = threading.Condition()
        self.shed = 0
        self.held_back = 0

    def put(self, chunk: Chunk) -> None:
        """Leave messages in their order. What comes after `close` is dropped: it was not acknowledged."""
        with self._change:
            if self._closed:
                return
            taken = self._fitting(chunk)
            if taken.frames:
                self._chunks.append(taken)
                self._messages += len(taken.frames)
                self._bytes += taken.size_bytes
                self._change.notify_all()

    def overdue(self) -> int:
        """A connection on which messages were held back, once all before them are taken; 0 for none. Given once."""
        with self._change:
            if not self._overflown or self._given or self._chunks:
                return 0
            self._given = True
            return self._overflown

    def put_published(self, published: Published) -> None:
        """Leave the broker's answer to a publish; never blocks. Bounded by what was published and not yet answered."""
        with self._change:
            self._published.append(published)
            self._change.notify_all()

    def take(
        self, max_messages: int, wait_s: float, gather_s: float, enough: int | None = None
    ) -> tuple[list[Chunk], list[Published]]:
        """Wait at most `wait_s` for the first item, then `gather_s` for company; both lists may be empty.

        Nothing is waited for once there are `enough` messages, `max_messages` by default. Chunks are taken
        until they hold `max_messages` or more; with 0 only answers are waited for and taken.
        """
        with self._change:
            if not self._published and not (max_messages and self._chunks):
                self._change.wait(wait_s)
            deadline = time.monotonic() + gather_s
            enough = max_messages if enough is None else min(enough, max_messages)
            while self._chunks and self._messages < enough and not self._closed:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._change.wait(remaining):
                    break
            chunks: list[Chunk] = []
            while self._chunks and max_messages > 0:
                chunk = self._chunks.popleft()
                chunks.append(chunk)
                self._messages -= len(chunk.frames)
                self._bytes -= chunk.size_bytes
                max_messages -= len(chunk.frames)
            published = list(self._published)
            self._published.clear()
            return chunks, published

    def close(self) -> None:
        """Take nothing more; what is in can still be taken."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def summary(self) -> dict[str, int]:
        """For the log."""
        return {"shed": self.shed, "held_back": self.held_back, "waiting": self._messages}

    def __len__(self) -> int:
        return self._messages

    def _fitting(self, chunk: Chunk) -> Chunk:
        """The part of a chunk that is taken."""
        if self._messages < self._max_messages and self._bytes < self._max_bytes:
            if chunk.connection != self._overflown:
                return chunk
            certain = [frame for frame in chunk.frames if not frame[0] & 6]
            self.held_back += len(chunk.frames) - len(certain)
            return chunk._replace(frames=certain)
        shed = sum(not first & 6 for first, _ in chunk.frames)
        self.shed += shed
        if shed < len(chunk.frames):
            self.held_back += len(chunk.frames) - shed
            if chunk.connection != self._overflown:
                self._overflown, self._given = chunk.connection, False
        return chunk._replace(frames=())
