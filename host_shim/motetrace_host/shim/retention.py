"""What goes from the database, by age and by size, in steps that never hold the write lock for long.

By age goes what is further from now than `keep`: messages, spans, the ledger's states of boots that no hop saw since,
what is stored about those boots, and what came from hops of boots that no device has. By size goes the oldest.
Between two steps as much time passes as the step took, so that the pipeline's transactions find the lock free.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from motetrace_host.storage import database
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.side_tables import CLONES, DEVICE_STATS, MAX_STATS
from motetrace_host.storage.span_store import SpanStore
from motetrace_host.storage.sqlite_ledger import SqliteLedger

MAX_PLACES: Final = 1_000_000
MAX_STATES: Final = 2_000_000
"""Of the ledger: boots times the hops that saw them; about 200 bytes each."""
SLOW_EVERY_MS: Final = 3_600_000
_HOUR_MS: Final = 3_600_000
_STEP: Final = 2_000
_PROGRESS_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What may stay.

    Attributes:
        keep_ms: age; messages, spans: how many.
        ledger_is_here: its states are in this database, and not in a shared one that cares for itself.
    """

    keep_ms: int
    messages: int
    spans: int
    states: int = MAX_STATES
    ledger_is_here: bool = True


class Retention:
    """Keeps one database within its limits.

    Args:
        connection: of `database.connect`; used here only, or in turns by one thread.
        wait: sleeps some seconds; True: stop (`threading.Event.wait`).
        on_progress: called now and then while there is much to do, with how many rows of what went so far.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        limits: Limits,
        wait: Callable[[float], bool],
        on_progress: Callable[[dict[str, int]], None] = lambda gone: None,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._wait = wait
        self._on_progress = on_progress
        self._spans = SpanStore(connection)
        self._messages = MessageLog(connection)
        self._ledger = BootTable(connection)
        self._seen = SqliteLedger(connection)
        self._slow_at_unix_ms = 0

    def run(self, now_unix_ms: int) -> dict[str, int]:
        """Let go what is too much or too old; gives how many rows of what went.

        What needs a look at whole tables (boots, states, statistics, places) is done once an hour.

        Raises:
            StoreError: nothing of the step at work went.
        """
        gone: Counter[str] = Counter()
        try:
            self._work_off(now_unix_ms, gone)
        finally:
            self._seen.forget_cache()  # it is needed once an hour, and large
        return dict(+gone)

    def _work_off(self, now_unix_ms: int, gone: Counter[str]) -> None:
        logged = time.monotonic()
        for what, step in self._steps(now_unix_ms):
            went = _STEP
            while went:
                began = time.monotonic()
                with database.transaction(self._connection):
                    went = step()
                gone[what] += went
                if went and time.monotonic() - logged > _PROGRESS_S:
                    logged = time.monotonic()
                    self._on_progress(dict(+gone))
                if went and self._wait(time.monotonic() - began):
                    return

    def _steps(self, now_unix_ms: int) -> Iterator[tuple[str, Callable[[], int]]]:
        limits, before_ms = self._limits, now_unix_ms - self._limits.keep_ms
        yield "marks", lambda: self._mark(now_unix_ms)
        yield "spans", lambda: self._spans.trim(max_spans=limits.spans, limit=_STEP)
        yield "spans", lambda: self._spans.trim_marked(before_ms, _STEP)
        yield "messages", lambda: self._messages.trim(limits.messages)
        yield "messages", lambda: self._messages.trim_old(now_unix_ms * 1_000_000, limits.keep_ms * 1_000_000)
        if abs(now_unix_ms - self._slow_at_unix_ms) < SLOW_EVERY_MS:
            return
        if limits.ledger_is_here:
            yield "boots", lambda: self._trim_states(now_unix_ms)
            yield "boots", lambda: self._ledger.trim_old(before_ms * 1_000_000, _STEP)
        yield "boots", lambda: self._ledger.trim_boots(_STEP)
        yield "statistics", lambda: DEVICE_STATS.trim_before(self._connection, before_ms, _STEP)
        yield "statistics", lambda: DEVICE_STATS.trim_beyond(self._connection, MAX_STATS, _STEP)
        yield "clones", lambda: CLONES.trim_before(self._connection, before_ms, _STEP)
        yield "places", lambda: self._messages.trim_places(MAX_PLACES)
        self._slow_at_unix_ms = now_unix_ms

    def _mark(self, now_unix_ms: int) -> int:
        self._spans.mark(now_unix_ms)
        return 0

    def _trim_states(self, now_unix_ms: int) -> int:
        """Forget boots by age, then the oldest beyond the limit.

        A look before the work: to forget anything, all states that changed are written, and the pipeline's store reads
        them anew.
        """
        before_ms = max(0, now_unix_ms - self._limits.keep_ms)
        oldest = self._seen.oldest_hour()
        if oldest is not None and oldest < before_ms // _HOUR_MS:
            went = self._seen.forget_before(before_ms, _STEP)
            if went:
                return went
        excess = self._seen.rows(self._limits.states) - self._limits.states
        # A boot has several states, so an eighth as many boots at a time; again while it is too much.
        boots = min(_STEP, -(-excess // 8))
        return self._seen.forget_before(now_unix_ms + _HOUR_MS, boots) if boots > 0 else 0
