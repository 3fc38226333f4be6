"""Token buckets in whole numbers, for one and for many devices: a number of tokens each period, and a burst.

Times are the wall clock's, which steps: back, and nothing is refilled for that step; forward, and the bucket is full.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many tokens there are each period, and how many may be saved up.

    Attributes:
        tokens: 1 or more, each period.  period_ns: 1 or more.
        burst: tokens that a full bucket holds, 1 or more; a new one is full.
    """

    tokens: int
    period_ns: int
    burst: int

    def __post_init__(self) -> None:
        if min(self.tokens, self.period_ns, self.burst) < 1:
            raise ValueError(f"{self}: each is 1 or more")

    @property
    def full(self) -> int:
        """Credit of a full bucket. Credit is in token-nanoseconds, so that any rate is a whole number."""
        return self.burst * self.period_ns

    def take(self, credit: int, last_ns: int, now_ns: int) -> tuple[bool, int]:
        """Take a token at `now_ns` of a bucket that held `credit` at `last_ns`: if there was one, and its credit."""
        if now_ns > last_ns:
            credit = min(self.full, credit + (now_ns - last_ns) * self.tokens)
        return (True, credit - self.period_ns) if credit >= self.period_ns else (False, credit)


class TokenBucket:
    """One bucket."""

    __slots__ = ("_allowance", "_credit", "_last_ns")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._credit = allowance.full
        self._last_ns = 0

    def take(self, now_ns: int) -> bool:
        """Take a token; False when there is none. `now_ns`: nanoseconds of any clock, 0 or more."""
        taken, self._credit = self._allowance.take(self._credit, self._last_ns, now_ns)
        self._last_ns = now_ns
        return taken


class DeviceBuckets:
    """A bucket for each device, at most `max_devices` of them: the one not asked for longest goes, and is full again.

    A device takes about 400 bytes. More devices than fit, each asked for in turn, would find full buckets each time:
    `evicted` counts that.
    """

    def __init__(self, allowance: Allowance, max_devices: int) -> None:
        self._allowance = allowance
        self._max_devices = max_devices
        self._states: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._states)

    def take(self, device_id: str, now_ns: int) -> bool:
        """Take a token of one device; False when there is none."""
        credit, last_ns = self._states.pop(device_id, (self._allowance.full, 0))
        taken, credit = self._allowance.take(credit, last_ns, now_ns)
        self._states[device_id] = (credit, now_ns)
        if len(self._states) > self._max_devices:
            self._states.popitem(last=False)
            self.evicted += 1
        return taken
