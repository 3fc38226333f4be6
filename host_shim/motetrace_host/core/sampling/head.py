"""The head decision: whether a message becomes a trace, made when it arrives, with the reason why.

In this order, and the first rule that keeps is the reason:

1. the rate: the device sampled it, and R >= T. With a limit, as many a second as that allows;
2. an operator's target: this device, until a time, at a rate of its own, whatever the device decided;
3. the sampled flag of the device: as many a minute and device as the cap allows, and within the limit;
4. else it is not kept, and the reason is the rule that left it out.

Why the rate goes first: what it keeps carries `th`, so that counts made from `th` are right, and the rules behind it
only add traces that carry none. Were a target asked first, that device would be missing in counts meanwhile.

The sampled flag is never overruled in silence: a message that its device sampled and that is not kept has one of the
reasons OUTSIDE_RATE, OVER_LIMIT and OVER_CAP, and is counted under it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER, threshold_bytes
from motetrace_host.core.sampling.token_bucket import Allowance, DeviceBuckets, TokenBucket
from motetrace_host.core.wire.trust import TrustPolicy

SAMPLED: Final = 1
UNKNOWN: Final = -1
"""In place of a threshold that is not known."""
_SECOND_NS: Final = 10**9
_MINUTE_NS: Final = 60 * _SECOND_NS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What holds for all devices.

    Attributes:
        threshold: the host's rate, 0..2**56.
        limit_per_s: traces a second that rate and flag may keep, 0: no limit; as many again may be saved up.
        cap_per_minute: traces a minute that a device's own flag is worth beyond the rate, 0: none.
        device_threshold: what a device is taken to sample by that never reported it, 0..2**56, or UNKNOWN.
        max_devices: of how many devices something of their own is remembered.
    """

    threshold: int = ALWAYS
    limit_per_s: int = 0
    cap_per_minute: int = 0
    device_threshold: int = UNKNOWN
    max_devices: int = 20_000


class SamplingPlan(NamedTuple):
    """What holds for a device on a topic, worked out once; `HeadSampler.decide` takes it.

    Attributes:
        threshold, threshold_bytes: kept by rate when R >= threshold, which is trace_id[9:] >= threshold_bytes;
            NEVER: nothing is.
        required_flags: bits of trace-flags that must be set for that: 1, or 0 where the device is not asked.
        rate_alone: the rate decides alone: a loop may write the comparison out.
        th: the threshold that `th` names where the rate kept a trace and R reaches it, UNKNOWN: none is written. (A
            device may force a message that its own odds left out: how many others that one stands for is unknown.)
        refusal: the reason when the flags are there and R is below the threshold.
        target, target_until_unix_ns: the operator's threshold and for how long; NEVER and 0: there is none.
    """

    threshold: int
    threshold_bytes: bytes
    required_flags: int
    rate_alone: bool
    th: int
    refusal: int
    target: int = NEVER
    target_until_unix_ns: int = 0
    device_id: str = ""


_RATE, _LIMITED, _TARGETED, _FLAG = map(int, (Reason.RATE, Reason.LIMITED, Reason.TARGETED, Reason.FLAG))


class HeadSampler:
    """The head's rules and their state; see the module for the order."""

    def __init__(self, settings: HeadSettings) -> None:
        self.settings = settings
        self._limit = _per_second(settings.limit_per_s)
        self._caps = _per_device(settings.cap_per_minute, settings.max_devices)
        self._targets: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._device_thresholds: OrderedDict[str, int] = OrderedDict()
        self._usual = {int(policy): self._plan("", policy) for policy in TrustPolicy}
        self.version = 0
        """Rises with every change of a target or device rate: a plan that was made at another version is stale."""
        self._dropped = 0

    @property
    def forgotten(self) -> int:
        """Targets, device rates and caps that were dropped because more than `max_devices` have one."""
        return self._dropped + (self._caps.evicted if self._caps else 0)

    def target(self, device_id: str, threshold: int, until_unix_ns: int) -> None:
        """Keep this device's traces by a threshold of its own, 0..2**56, until a time; replaces an earlier target."""
        self._remember(self._targets, device_id, (threshold, until_unix_ns))

    def untarget(self, device_id: str) -> None:
        """End a target, if there is one."""
        if self._targets.pop(device_id, None) is not None:
            self.version += 1

    def expire(self, now_unix_ns: int) -> None:
        """Drop targets whose time is over; without it their devices stay on the slower way through `decide`."""
        over = [device_id for device_id, (_, until) in self._targets.items() if until <= now_unix_ns]
        for device_id in over:
            del self._targets[device_id]
        self.version += bool(over)

    def targets(self, device_id: str, trace_id: bytes, at_unix_ns: int) -> bool:
        """Whether the target of a device, if it had one at that time, keeps this trace; what the tail asks."""
        target = self._targets.get(device_id)
        return target is not None and at_unix_ns < target[1] and int.from_bytes(trace_id[9:], "big") >= target[0]

    def device_samples_by(self, device_id: str, threshold: int) -> None:
        """Note by which threshold of the same R a device sets its flag, 0..2**56; UNKNOWN: by dice of its own."""
        if threshold == self.settings.device_threshold:
            if self._device_thresholds.pop(device_id, None) is not None:
                self.version += 1
        elif self._device_thresholds.get(device_id) != threshold:
            self._remember(self._device_thresholds, device_id, threshold)

    def plan(self, device_id: str, policy: int = TrustPolicy.CONTINUE) -> SamplingPlan:
        """Work out what holds for a device on a topic. Good while `version` is the same.

        Args:
            policy: of the topic; RESAMPLE where the host made the context itself (origin `seq`, `none:*`).
        """
        if self._caps is None and device_id not in self._targets and device_id not in self._device_thresholds:
            return self._usual[policy]
        return self._plan(device_id, policy)

    def decide(
        self, plan: SamplingPlan, trace_id: bytes, flags: int, now_unix_ns: int, randomness: int | None = None
    ) -> int:
        """Decide about one message.

        Args:
            plan: of its device and topic.
            trace_id: 16 bytes.
            flags: W3C trace-flags, of which bit 0 is the device's decision.
            now_unix_ns: the wall clock; it may step.
            randomness: R where a tracestate says `rv`; None: the trace-id's.
        Returns:
            A `Reason` as a number: of keeping, or of not keeping.
        """
        random = int.from_bytes(trace_id[9:], "big") if randomness is None else randomness
        refused = int(Reason.UNSAMPLED)
        if flags & plan.required_flags == plan.required_flags:
            refused = plan.refusal
            if random >= plan.threshold:
                if self._limit is None:
                    return _RATE
                if self._limit.take(now_unix_ns):
                    return _LIMITED
                refused = int(Reason.OVER_LIMIT)
        if now_unix_ns < plan.target_until_unix_ns and random >= plan.target:
            return _TARGETED
        if self._caps is not None and plan.required_flags and refused == Reason.OUTSIDE_RATE:
            return self._by_flag(self._caps, plan.device_id, now_unix_ns)
        return refused

    def _by_flag(self, caps: DeviceBuckets, device_id: str, now_unix_ns: int) -> int:
        if not caps.take(device_id, now_unix_ns):
            return Reason.OVER_CAP
        return _FLAG if self._limit is None or self._limit.take(now_unix_ns) else Reason.OVER_LIMIT

    def _plan(self, device_id: str, policy: int) -> SamplingPlan:
        threshold = self.settings.threshold
        device = self._device_thresholds.get(device_id, self.settings.device_threshold)
        if policy != TrustPolicy.CONTINUE:  # the host decides alone, so nothing was thinned out before
            device = ALWAYS
        target, until = self._targets.get(device_id, (NEVER, 0))
        return SamplingPlan(
            threshold,
            threshold_bytes(threshold),
            SAMPLED if policy == TrustPolicy.CONTINUE else 0,
            self._limit is None and self._caps is None and not until,
            UNKNOWN if device == UNKNOWN else max(threshold, device),
            int(Reason.OUTSIDE_RATE),
            target,
            until,
            device_id,
        )

    def _remember(self, table: OrderedDict[str, T], device_id: str, value: T) -> None:
        table.pop(device_id, None)
        table[device_id] = value
        self.version += 1
        if len(table) > self.settings.max_devices:
            table.popitem(last=False)
            self._dropped += 1


def _per_second(tokens: int) -> TokenBucket | None:
    return TokenBucket(Allowance(tokens, _SECOND_NS, tokens)) if tokens else None


def _per_device(tokens: int, max_devices: int) -> DeviceBuckets | None:
    return DeviceBuckets(Allowance(tokens, _MINUTE_NS, tokens), max_devices) if tokens else None
