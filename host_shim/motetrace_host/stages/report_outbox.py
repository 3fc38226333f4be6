"""Reports on their way: each keeps its number until it has arrived, so that however often it is sent it counts once.

No clock and no thread in here: who sends says what time it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.hop_report import MAX_COUNT, HopReport
from motetrace_host.stages.hop_tally import HopCounts

WINDOW: Final = 32  # reports under way at once: half of how far back the shim remembers numbers
RESEND_AFTER_S: Final = 60.0
RESEND_AT_MOST_S: Final = 3_600.0
GRACE_S: Final = 10.0  # a connection takes a moment; then it is worth a warning

_log = logging.getLogger("motetrace")


class Receipt(Protocol):
    """What a publish returns: paho's MQTTMessageInfo, or anything with this method of it."""

    def is_published(self) -> bool:
        """True when the broker has acknowledged it; raises when it never will."""


Publish = Callable[[str, bytes], Any]


@dataclass(slots=True)
class _Pending:
    topic: str  # its own: under another name the shim would not know it again
    number: int
    payload: bytes
    receipt: Receipt | None = None
    resend_at_s: float = 0.0
    patience_s: float = RESEND_AFTER_S


class ReportOutbox:
    """Makes numbered reports of what was counted, and sends them in their order until each has arrived.

    A client that took a report keeps trying by itself, so it is given it again only after a minute, then two, four, ...

    Args:
        topic: Where to.  process: 8 random bytes of this process.
    """

    def __init__(self, topic: str, process: bytes) -> None:
        self.topic = topic
        self._process = process
        self._number = 0
        self._pending: list[_Pending] = []
        self._failing_since_s: float | None = None
        self._warned = False

    @property
    def is_empty(self) -> bool:
        """Every report has arrived."""
        return not self._pending

    def fill(self, counted: Mapping[str, HopCounts]) -> None:
        """Make reports of these counts."""
        for hop, counts in counted.items():
            parts = list(hop_report.split(counts.outcomes()))
            if not parts and (counts.unnumbered or counts.shed):
                parts = [{}]
            for at, part in enumerate(parts):
                self._number += 1
                extra = (0, 0) if at else (min(counts.unnumbered, MAX_COUNT), min(counts.shed, MAX_COUNT))
                payload = hop_report.format(HopReport(hop, self._process, self._number, part, *extra))
                self._pending.append(_Pending(self.topic, self._number, payload))

    def send(self, publish: Publish, now_s: float) -> None:
        """Drop what has arrived, and publish what is due; stops at the first that fails, to keep the order.

        Args:
            publish: Takes topic and payload. What it returns is asked later whether it is published; a result that
                cannot be asked means that the report has arrived. May raise anything.
            now_s: By a monotonic clock.
        """
        self._settle(now_s)
        tried: set[int] = set()
        while due := [pending for pending in self._due(now_s) if pending.number not in tried]:
            for pending in due:
                tried.add(pending.number)
                if not self._publish(publish, pending, now_s):
                    return
            self._settle(now_s)

    def start_over(self) -> None:
        """Everything is to be sent again: by another client."""
        for pending in self._pending:
            pending.receipt = None

    def _due(self, now_s: float) -> list[_Pending]:
        below = self._pending[0].number + WINDOW if self._pending else 0
        return [
            pending
            for pending in self._pending[:WINDOW]
            if pending.number < below and (pending.receipt is None or now_s >= pending.resend_at_s)
        ]

    def _settle(self, now_s: float) -> None:
        self._pending = [pending for pending in self._pending if not self._has_arrived(pending, now_s)]

    def _has_arrived(self, pending: _Pending, now_s: float) -> bool:
        try:
            arrived = pending.receipt is not None and pending.receipt.is_published()
        except Exception as error:  # noqa: BLE001  whatever a client raises: it is to be sent again
            pending.receipt = None
            self._failed(error, now_s)
            return False
        if arrived:
            self._works()
        return arrived

    def _publish(self, publish: Publish, pending: _Pending, now_s: float) -> bool:
        try:
            result = publish(pending.topic, pending.payload)
            if hasattr(result, "is_published"):
                result.is_published()  # raises when the client did not take it
                pending.receipt = result
            else:
                pending.receipt = _ARRIVED
        except Exception as error:  # noqa: BLE001  reporting never fails the application
            self._failed(error, now_s)
            return False
        pending.resend_at_s = now_s + pending.patience_s
        pending.patience_s = min(2 * pending.patience_s, RESEND_AT_MOST_S)
        return True

    def _failed(self, error: Exception, now_s: float) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if not self._warned and now_s - self._failing_since_s >= GRACE_S:
            self._warned = True
            why = str(error) or type(error).__name__
            _log.warning("motetrace: hop reports do not arrive on %s; kept, and sent again: %s", self.topic, why)

    def _works(self) -> None:
        if self._warned:
            _log.info("motetrace: hop reports arrive again on %s", self.topic)
        self._failing_since_s, self._warned = None, False


class _Arrived:
    def is_published(self) -> bool:
        return True


_ARRIVED = _Arrived()
