"""Spans out: what is stored, as the forwarder's queue. Makes the spans of messages when they are sent.

First the spans of messages, from blocks of records; then what the stages sent. With a tail (`tail_sampler`) both wait
until their time has come, and what it does not keep is passed over. Composes log, store and codec.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from motetrace_host.core.messages import record
from motetrace_host.core.messages.message_spans import MessageSpanEncoder, ShimIdentity, SpanBatch
from motetrace_host.core.messages.record import RecordExtra
from motetrace_host.core.spans.envelope import join
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.network import otlp_codec
from motetrace_host.shim.tail_sampler import TailSampler
from motetrace_host.storage import database, forward_cursor
from motetrace_host.storage.device_lookup import DeviceLookup
from motetrace_host.storage.forward_cursor import ForwardCursor, Position
from motetrace_host.storage.message_log import SPANS_PER_MESSAGE, Block, MessageLog
from motetrace_host.storage.span_store import SpanStore
from motetrace_host.storage.tail_decisions import TailDecisionLog

MAX_BATCH_BYTES = 2**21  # before gzip, about; common backends take 4 MiB and more
_STEP = 256  # messages between two looks at the size
_TYPICAL_BYTES = 1_200  # of a message's spans


def unsent_elsewhere(connection: sqlite3.Connection, target: str) -> dict[str, int]:
    """Former targets, and about how many stored spans were never sent there.

    Such spans are not lost, and hold nothing up: they go to the present target, stay readable here, and are shed by
    retention. Why the cursor is kept: named again, that backend gets what it missed, and nothing twice.

    Args:
        target: the present one, "" when there is none.
    """
    with database.translated():
        others = [name for name in forward_cursor.positions(connection) if name != target]
        states = {name: ForwardCursor(connection, name).state() for name in others}
    pending = {name: at.pending_spans + SPANS_PER_MESSAGE * at.pending_messages for name, at in states.items()}
    return {name: spans for name, spans in pending.items() if spans}


@dataclass(slots=True)
class _Load:
    """A request in the making: spans of messages, and where the reading stands."""

    at: Position
    max_messages: int
    spans: SpanBatch = field(default_factory=SpanBatch)

    def room(self) -> int:
        """For how many more messages there is room; at least one in all, whose two spans cannot be parted."""
        if not self.spans.messages:
            return max(1, min(self.max_messages, _STEP))
        full = self.spans.size_bytes > MAX_BATCH_BYTES - _STEP * _TYPICAL_BYTES
        return 0 if full else max(0, min(self.max_messages - self.spans.messages, _STEP))


class SpanOutbox:
    """The forwarder's `Outbox` for one target; owns its connection.

    Args:
        connection: from `database.connect`, for this alone.
        target: names the cursor; the backend's URL as `otlp_forwarder.traces_url` gives it, so that two ways to write
            it are one target.
        tail: the tail of the sampling; None: what the head kept is sent at once.
    """

    def __init__(
        self, connection: sqlite3.Connection, target: str, where: ShimIdentity, tail: TailSampler | None = None
    ) -> None:
        self._connection = connection
        self._spans = SpanStore(connection)
        self._log = MessageLog(connection)
        self._cursor = ForwardCursor(connection, target)
        devices = DeviceLookup(connection)
        self._hops = MessageSpanEncoder(where, devices.find, devices.threshold)
        self._tail = tail
        self._verdicts = TailDecisionLog(connection)
        self._horizon = _Horizon(tail.rules.wait_s + 1 if tail else 0)
        self._block: Block | None = None
        self._after = 0  # the block that it stands behind
        self._stale = False
        with database.transaction(connection):
            self._cursor.open()

    def births_changed(self) -> None:
        """A birth came; called from another thread."""
        self._stale = True

    def batch(self, max_spans: int) -> tuple[int, Position, bytes]:
        if self._stale:
            self._stale = False
            self._hops.forget()
        if self._tail:
            self._tail.keep_after_all()
        with database.translated():
            begun = self._cursor.position()
            load = _Load(begun, max_spans // SPANS_PER_MESSAGE)
            self._load_revivals(load)
            if not load.spans.messages:
                while load.room() and self._load_block(load):
                    pass
            if load.spans.messages:
                return SPANS_PER_MESSAGE * load.spans.messages, load.at, load.spans.request()
            rows = self._stage_spans(load, max_spans)
        if rows:
            return len(rows), load.at, join(rows)
        if load.at != begun:  # nothing but what is not kept
            self.settle(load.at, sent=0, refused=0)
        return 0, load.at, b""

    def rejected(self, body: bytes, content_type: str) -> tuple[int, str]:
        return otlp_codec.partial_success(body, content_type)

    def settle(self, upto: Position, *, sent: int, refused: int) -> None:
        with database.transaction(self._connection):
            self._cursor.settle(upto, sent=sent, refused=refused)
            if upto.revival:
                self._verdicts.settle_revivals(upto.revival)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _load_revivals(self, load: _Load) -> None:
        """Make spans of the messages that the tail kept after it had let them go."""
        for revival in self._verdicts.revivals(min(load.max_messages, _STEP)) if self._tail else ():
            block = self._log.block(revival.block_id)
            if block is not None:
                self._hops.add(
                    block.records, (revival.number,), _extras(block), load.spans, {revival.number: revival.reason}
                )
            load.at = load.at._replace(revival=revival.id)

    def _load_block(self, load: _Load) -> bool:
        """Make spans of the next block, as far as there is room; False when there is none, or its time has not come."""
        block = self._next_block(load.at.block)
        if block is None or (self._tail and not self._tail.due(block)):
            return False
        reasons = self._tail.reasons(block) if self._tail else b""
        offset = load.at.offset
        kept = record.keeping(reasons, offset) if reasons else record.kept(block.records, offset)
        extras = _extras(block)
        while kept and (room := load.room()):
            self._hops.add(block.records, kept[:room], extras, load.spans, reasons)
            kept = kept[room:]
        if kept:
            load.at = load.at._replace(offset=kept[0])
        else:
            load.at = load.at._replace(block=block.id, offset=0)
        return True

    def _stage_spans(self, load: _Load, max_spans: int) -> list[SpanRow]:
        """The next spans that the stages sent; with a tail, those whose messages were decided about."""
        rows = self._spans.after(load.at.span_id, max_spans, MAX_BATCH_BYTES)
        if self._tail:
            upto = self._horizon.upto(self._spans.last_id())
            rows = [row for row in rows if row.id <= upto]
        if rows:
            load.at = load.at._replace(span_id=rows[-1].id)
        return [row for row in rows if self._tail.traces.keeps(row)] if self._tail else rows

    def _next_block(self, after: int) -> Block | None:
        """The block behind one; the same block is asked for again and again while it is sent in parts.

        A request that failed is made anew from where it began, so a later block may be the one at hand.
        """
        if self._block is None or self._after != after:
            self._block, self._after = next(self._log.blocks(after, limit=1), None), after
        return self._block


class _Horizon:
    """Up to which id spans were stored a while ago; nothing was, right after a start.

    Args:
        age_s: how long ago.
    """

    def __init__(self, age_s: int, now: Callable[[], float] = time.monotonic) -> None:
        self._age_s = age_s
        self._now = now
        self._marks: deque[tuple[float, int]] = deque()
        self._upto = 0

    def upto(self, last_id: int) -> int:
        """Note the last id; gives the one of `age_s` ago."""
        now = self._now()
        if not self._marks or now - self._marks[-1][0] >= 0.5:
            self._marks.append((now, last_id))
        while self._marks and now - self._marks[0][0] >= self._age_s:
            self._upto = self._marks.popleft()[1]
        return self._upto


def _extras(block: Block) -> dict[int, RecordExtra]:
    return record.split_extras(block.extras) if block.extras else {}
