"""What the shim knows about the sampling of one device: filled from its database and settings, shown by `why`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.wire.trust import TrustPolicy


@dataclass(frozen=True, slots=True)
class ShimView:
    """One device, as the shim sees it.

    Attributes:
        head: the settings in force.  rules: the tail's, None where it is off.
        policy: a `TrustPolicy`, of the topic that the device's last message came on.
        now_unix_ns: the clock.
        target_until_unix_ns: when the shim's target for this device ends; 0: as the wish says that the broker keeps.
        since_unix_s: since when it counts.
        received: messages of this device.
        head_counts: how many of those by the head's `Reason` as a number.
        tail_counts: how many of those that were decided about by the tail's, 0: not kept.
        otlp: the backend's address, "" for none.
        spans_waiting, spans_refused: of all devices: not sent yet, and refused by the backend.
    """

    head: HeadSettings
    rules: TailRules | None = None
    policy: int = TrustPolicy.CONTINUE
    now_unix_ns: int = 0
    target_until_unix_ns: int = 0
    since_unix_s: int = 0
    received: int = 0
    head_counts: Mapping[int, int] = field(default_factory=dict)
    tail_counts: Mapping[int, int] = field(default_factory=dict)
    otlp: str = ""
    spans_waiting: int = 0
    spans_refused: int = 0

    @property
    def targeted(self) -> bool:
        """A target for this device is in force."""
        return self.now_unix_ns < self.target_until_unix_ns

    @property
    def kept(self) -> int:
        """Messages of this device that the head kept."""
        return sum(count for reason, count in self.head_counts.items() if reason >= 16)
