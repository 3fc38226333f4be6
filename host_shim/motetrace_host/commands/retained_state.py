"""What the broker keeps of a device: the last wish, the last report, the last birth message."""

from __future__ import annotations

from dataclasses import dataclass

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.sampling import device_rate, request
from motetrace_host.core.sampling import report as reported
from motetrace_host.core.sampling.device_rate import BirthSampling
from motetrace_host.core.sampling.report import SamplingReport
from motetrace_host.core.sampling.request import SamplingRequest
from motetrace_host.shim.sampling_topics import NO_END

KINDS = ("sampling/desired", "sampling/reported", "birth")


def topic(prefix: str, device_id: str, kind: str) -> str:
    """Write a side topic of a device.

    Raises:
        ValueError: the device id cannot stand in a topic.
    """
    return TopicTemplate(prefix + "{device_id}/" + kind).fill(device_id)


@dataclass(frozen=True, slots=True)
class Words:
    """Read; None where the broker keeps nothing. `faults`: what was kept and could not be read, in words."""

    wish: SamplingRequest | None = None
    report: SamplingReport | None = None
    birth: BirthSampling | None = None
    faults: tuple[str, ...] = ()

    @property
    def target_until_unix_ns(self) -> int:
        """Until when a shim that hears this wish keeps to it; 0: it does not, or the wish does not say since when."""
        if self.wish is None or self.wish.mode != request.ON:
            return 0
        return self.wish.until_unix_s * 10**9 if self.wish.for_s else NO_END


def read(kept: dict[str, bytes]) -> Words:
    """Read payloads by the kinds of KINDS."""
    faults: list[str] = []
    wish = report = None
    try:
        wish = request.parse(kept["sampling/desired"]) if kept.get("sampling/desired") else None
    except WireError as error:
        faults.append(f"the request kept by the broker is broken, devices refuse it: {error}")
    try:
        report = reported.parse(kept["sampling/reported"]) if kept.get("sampling/reported") else None
    except WireError as error:
        faults.append(f"the report kept by the broker is broken: {error}")
    birth = device_rate.read_birth(kept["birth"]) if kept.get("birth") else None
    return Words(wish, report, birth, tuple(faults))
