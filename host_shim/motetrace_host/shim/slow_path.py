"""The long way from a packet to a batch: everything that `fast_path` does not read itself."""

from __future__ import annotations

from collections.abc import Sequence

from motetrace_host.core.errors import WireError
from motetrace_host.core.messages.message import IdentifiedMessage
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Chunk, Delivery
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.wire import device_identity
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.shim.batch import Batch, Republish
from motetrace_host.shim.boot_runs import BootRun
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.device_topics import MAX_TOPIC_BYTES, DeviceTopic, DeviceTopics
from motetrace_host.shim.identifier import Identifier
from motetrace_host.shim.side_topic import SideTopic

_RATE = int(Reason.RATE)


class SlowPath:
    """Reads one packet: a reading of any shape, a message of a side topic, or what is neither.

    What is broken in a message goes with it, to be counted once. What makes no message (a retained reading, a broken
    birth, a topic without a device) is in no ledger that would know it again: it is counted here, at each delivery.
    """

    def __init__(
        self, topics: DeviceTopics, identifier: Identifier, side_topics: Sequence[SideTopic], counters: Counters
    ) -> None:
        self._topics = topics
        self._identifier = identifier
        self._side_topics = side_topics
        self._counters = counters

    def read(self, first: int, body: bytes, chunk: Chunk, batch: Batch) -> None:
        """Add a packet to a batch. It raises before the batch is changed, or not at all."""
        packet = publish_packet.read(first, body)
        delivery = Delivery(packet, chunk.connection, chunk.received_unix_ns)
        try:
            on = self._topic_of(packet)
        except WireError as error:
            self._counters.reject("", packet.fault or error.reason)
        else:
            if on is None:
                self._not_a_reading(delivery)
            elif packet.retain:  # sent at subscribe, with the context of long ago: that trace must not be extended
                if packet.fault:
                    self._counters.reject(on.device_id, packet.fault)
                self._counters.retained += 1
            else:
                self._add(on, delivery, batch)
        if packet.packet_id:
            batch.acks.append(packet.packet_id)

    def origin(self, first: int, body: bytes) -> tuple[str, int]:
        """The device, "" when it is unknown, and the packet id, 0 for none, of a packet that broke its reader."""
        qos, end = first >> 1 & 3, 2 + int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[end : end + 2], "big") if 0 < qos < 3 else 0
        try:
            packet = publish_packet.read(first, body)
            on = self._topic_of(packet)
            if on is not None:
                return on.device_id, packet_id
            matches = (side.template.match(packet.topic) for side in self._side_topics)
            return next((device_id for device_id in matches if device_id), ""), packet_id
        except Exception:  # noqa: BLE001 (perhaps what broke before; RefusedError too: the device's name is no need)
            return "", packet_id

    def _add(self, on: DeviceTopic, delivery: Delivery, batch: Batch) -> None:
        found = self._identifier.identify(on, delivery)
        decision = self._decide(on, found)
        run = self._run_of(on, found)
        republish = None
        if on.template in self._topics.rules.republished:
            republish = Republish(found, delivery)
        batch.add(found, on, decision, on.threshold_id if decision == _RATE else 0, run, republish)

    def _run_of(self, on: DeviceTopic, found: IdentifiedMessage) -> BootRun | None:
        ids = found.ids
        if ids.boot_nonce is None or ids.seq is None:
            return None
        if found.context.origin == "seq":
            return self._topics.boots.inferred(on.boots, ids.boot_nonce)
        last = on.boots.last
        if last is not None and last.boot_nonce == ids.boot_nonce:
            return last
        return self._topics.boots.enter(on.boots, ids.boot_nonce, found.arrival.received_unix_ns)

    def _decide(self, on: DeviceTopic, found: IdentifiedMessage) -> int:
        head, context, trace_id = self._topics.plans.head, found.context, found.ids.trace_id
        if context.origin in ("traceparent", "seqref"):
            if on.version != head.version:
                self._topics.renew_plan(on)
            plan = on.plan
        else:  # the host made the context: no device was asked
            plan = head.plan(on.device_id, TrustPolicy.RESAMPLE)
        randomness = ot_member.randomness(context.tracestate, trace_id)
        return head.decide(plan, trace_id, context.flags, found.arrival.received_unix_ns, randomness)

    def _topic_of(self, packet: PublishPacket) -> DeviceTopic | None:
        """Where a packet belongs, None when it is no reading. Raises WireError when it names no device."""
        topic, device_property = packet.topic.encode(), self._topics.rules.device_property
        if not device_property:
            return self._topics.find(topic)
        if not self._topics.rules.is_reading(packet.topic):
            return None
        return self._topics.of_device(topic, device_identity.device_of(packet.user_properties, device_property))

    def _not_a_reading(self, delivery: Delivery) -> None:
        packet = delivery.packet
        for side in self._side_topics:
            device_id = side.template.match(packet.topic)
            if device_id is not None:
                self._receive_side(side, device_id, delivery)
                return
        too_long = len(packet.topic.encode()) > MAX_TOPIC_BYTES
        self._counters.reject("", packet.fault or ("topic_too_long" if too_long else "topic_without_device"))

    def _receive_side(self, side: SideTopic, device_id: str, delivery: Delivery) -> None:
        packet, device_property = delivery.packet, self._topics.rules.device_property
        if device_property and side.from_device:
            try:
                device_id = device_identity.device_of(packet.user_properties, device_property)
            except WireError as error:
                self._counters.reject("", packet.fault or error.reason)
                return
        try:
            side.receive(device_id, packet, delivery.received_unix_ns)
        except WireError as error:
            self._counters.reject(device_id, error.reason)
