"""What was decided, for spans that come later: they follow the verdict about their trace."""

from __future__ import annotations

from collections import OrderedDict


class TailDecisions:
    """Reasons by trace-id, 0 for what was not kept; at most so many, the oldest go first.

    An entry takes at most 250 bytes (tests/host/sampling/test_interesting.py). Keep as many as messages come while a
    span may be late: 8,000 a second for 30 s are 240,000.

    Args:
        max_kept, max_dropped: separately, as in the Collector's decision cache: the many that are not kept must not
            push out the few that are.
    """

    def __init__(self, max_kept: int = 100_000, max_dropped: int = 100_000) -> None:
        self._max_kept, self._max_dropped = max_kept, max_dropped
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        self._dropped: OrderedDict[bytes, None] = OrderedDict()
        self.forgotten = 0
        """Verdicts that had to go; a span that comes later than that has none."""

    def __len__(self) -> int:
        return len(self._kept) + len(self._dropped)

    def note(self, trace_id: bytes, reason: int) -> None:
        """Note a decision; 0: not kept. One for keeping takes back an earlier one against it, and never the reverse."""
        if reason:
            self._dropped.pop(trace_id, None)
            self._kept.setdefault(trace_id, reason)
            self._bound(self._kept, self._max_kept)
        elif trace_id not in self._kept:
            self._dropped[trace_id] = None
            self._bound(self._dropped, self._max_dropped)

    def find(self, trace_id: bytes) -> int | None:
        """The reason that a trace was kept for, 0 when it was not, None when it is undecided or forgotten."""
        reason = self._kept.get(trace_id)
        if reason is not None:
            return reason
        return 0 if trace_id in self._dropped else None

    def _bound(self, table: OrderedDict[bytes, int] | OrderedDict[bytes, None], most: int) -> None:
        if len(table) > most:
            table.popitem(last=False)
            self.forgotten += 1
