"""A shim from start to stop: its parts in order, and what ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motetrace_host.core.errors import StoreError
from motetrace_host.core.sampling.head import HeadSampler
from motetrace_host.shim.logging import Log
from motetrace_host.shim.pipeline import Pipeline
from motetrace_host.shim.ports import BrokerConnection, Membership
from motetrace_host.shim.retention import Retention
from motetrace_host.shim.span_exchange import SpanExchange

UPKEEP_S = 10.0
LEAVING_S = 1.0
_DRAIN_S = 10.0
SUMMARY_S = 60.0
_WORTH_LOGGING = 100_000  # rows


class Ending:
    """What ends a shim: its event, set from outside, or a part that cannot go on.

    Attributes:
        reason: why it could not go on, "" when it could.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.reason = ""

    def fail(self, reason: str) -> None:
        """End it because of a failure."""
        self.reason = reason
        self.stop.set()


class Upkeep:
    """What is done beside the messages: bound what is on disk, and log how it goes.

    Args:
        summaries: what the line `summary` is made of.
    """

    def __init__(
        self, log: Log, retention: Retention, head: HeadSampler, summaries: Sequence[Callable[[], dict[str, Any]]]
    ) -> None:
        self._log = log
        self._retention = retention
        self._head = head
        self._summaries = summaries
        self._next_summary = time.monotonic() + SUMMARY_S

    def run(self) -> None:
        """Do what is due."""
        try:
            self._head.expire(time.time_ns())
            gone = self._retention.run(time.time_ns() // 1_000_000)
            if sum(gone.values()) >= _WORTH_LOGGING:
                self._log.info("forgotten", **gone)
        except StoreError as error:
            self._log.warning("trim_failed", error=str(error))
        if time.monotonic() >= self._next_summary:
            self._next_summary += SUMMARY_S
            self._log.info("summary", **self.summary())

    def summary(self) -> dict[str, Any]:
        """Everything that is counted since the start."""
        return {name: number for part in self._summaries for name, number in part().items()}


class Shim:
    """One running shim; made by `build.build`.

    Args:
        started: what the line `started` in the log names.
    """

    def __init__(
        self,
        log: Log,
        ending: Ending,
        pipeline: Pipeline,
        broker: BrokerConnection,
        spans: SpanExchange,
        membership: Membership,
        upkeep: Upkeep,
        started: Mapping[str, Any],
    ) -> None:
        self.pipeline = pipeline
        self.upkeep = upkeep
        self.spans = spans
        self._log = log
        self._ending = ending
        self._broker = broker
        self._membership = membership
        self._started = started

    def run(self) -> int:
        """Start all, take care of them until stopped, stop them; 0, or 1 when it could not go on."""
        for part in (self.spans, self.pipeline, self._broker):
            part.start()
        self._log.info("started", **self._started, **self.spans.endpoints())
        self.spans.log_former_targets()
        drained = left = False
        try:
            self._wait()
        finally:
            # In this order: take no more, work off, commit, acknowledge, disconnect, send spans on.
            drained = self.pipeline.stop(_DRAIN_S)
            left = drained and self._membership.over
            self._broker.stop(end_session=left)
            self.spans.stop()
        return self._ended(drained, left)

    def _wait(self) -> None:
        while not self._ending.stop.wait(LEAVING_S if self._membership.leaving else UPKEEP_S):
            if self._membership.over:
                return
            self.upkeep.run()

    def _ended(self, drained: bool, left: bool) -> int:
        summary = self.upkeep.summary()
        if self._ending.reason:
            self._log.error("stopped", reason=self._ending.reason, **summary)
            return 1
        if self._membership.leaving:
            self._log.info("left" if left else "not_left", **summary)
            return 0 if left else 1
        self._log.info("stopped", drained=drained, **summary)
        return 0
