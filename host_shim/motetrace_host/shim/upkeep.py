"""What is done beside the messages, every few seconds: bound what is on disk, and log how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from motetrace_host.core.sampling.head import HeadSampler
from motetrace_host.core.store_error import StoreError
from motetrace_host.shim.logging import Log
from motetrace_host.shim.retention import Retention

SUMMARY_S = 60.0
_WORTH_LOGGING = 100_000  # rows


class Upkeep:
    """Runs on the main thread.

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
