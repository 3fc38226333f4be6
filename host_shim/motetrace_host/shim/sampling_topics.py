"""What the head sampler takes from side topics: operators make a device a target, devices report their rate.

Nothing is stored: the broker keeps both messages and sends them again at each connection.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.sampling import device_rate, request
from motetrace_host.core.sampling import report as reported
from motetrace_host.core.sampling.device_rate import BirthSampling
from motetrace_host.core.sampling.head import HeadSampler
from motetrace_host.core.sampling.threshold import of_rate
from motetrace_host.shim.side_topic import SideTopic

_SECOND_NS: Final = 10**9
NO_END: Final = 2**63 - 1


class DesiredTopic(SideTopic):
    """`sampling/desired`: while a request of mode `on` holds, the device is a target of the head.

    Why the shim listens to what is meant for the device: at a host rate of 1 % a device that samples 100 % would still
    show one trace in a hundred, and the operator who asked for all of them would not know why.
    """

    retained = True

    def __init__(self, prefix: str, head: HeadSampler) -> None:
        super().__init__(prefix + "{device_id}/sampling/desired")
        self._head = head

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take a request in.

        A request names its end by the operator's clock, or (written by hand) only for how long: then it begins when
        it arrives, and anew with each connection, as on the device with each boot.

        Raises:
            WireError: a `desired_*` reason; the device refuses it too, so that nothing changes.
        """
        wanted = request.parse(packet.payload)
        if wanted.mode != request.ON:
            self._head.untarget(device_id)
            return
        until = wanted.until_unix_s * _SECOND_NS
        if not until:
            until = received_unix_ns + wanted.for_s * _SECOND_NS if wanted.for_s else NO_END
        if until <= received_unix_ns:
            self._head.untarget(device_id)
        else:
            self._head.target(device_id, of_rate(wanted.rate), until)


class _DeviceRate(NamedTuple):
    birth: BirthSampling = BirthSampling(b"", "", None)
    reporting_boot: bytes = b""
    reported_16: int | None = None

    def threshold(self) -> int:
        """A report counts for the boot that it names: an older boot's is still retained when a new one is born."""
        current = self.reported_16 is not None and self.birth.boot_nonce in (b"", self.reporting_boot)
        return device_rate.threshold(self.birth.mode, self.reported_16 if current else self.birth.threshold_16)


class ReportedTopic(SideTopic):
    """`sampling/reported`, and what a birth message holds about sampling: the rate behind a device's flag."""

    retained = True
    from_device = True

    def __init__(self, prefix: str, head: HeadSampler) -> None:
        super().__init__(prefix + "{device_id}/sampling/reported")
        self._head = head
        self._known: OrderedDict[str, _DeviceRate] = OrderedDict()

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take in what a device applied; an empty message changes nothing.

        Raises:
            WireError: a `reported_*` reason.
        """
        if packet.payload:
            report = reported.parse(packet.payload)
            known = self._known.get(device_id, _DeviceRate())
            self._note(device_id, known._replace(reporting_boot=report.boot_nonce, reported_16=report.threshold))

    def birth(self, device_id: str, payload: bytes) -> None:
        """Take in a birth message, in either order with the report."""
        known = self._known.get(device_id, _DeviceRate())
        self._note(device_id, known._replace(birth=device_rate.read_birth(payload)))

    def _note(self, device_id: str, known: _DeviceRate) -> None:
        self._known.pop(device_id, None)
        self._known[device_id] = known
        if len(self._known) > self._head.settings.max_devices:
            self._known.popitem(last=False)
        self._head.device_samples_by(device_id, known.threshold())
