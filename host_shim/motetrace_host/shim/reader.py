"""From packets to a batch: which device, which context, which ids.

Most messages are of one of two shapes and go the short way, straight from bytes to a record. Whatever is not goes the
long way, through `publish_packet`, `context` and `message`; both give the same record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from motetrace_host.core.messages import fast_path, message
from motetrace_host.core.messages.message import Arrival, Message
from motetrace_host.core.messages.record import CARRIER_BITS, NUMBERED, ORIGIN_BITS, RECORD
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Chunk, Delivery
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.wire import context, device_identity
from motetrace_host.core.wire.trust import Policy
from motetrace_host.core.wire_error import WireError
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch, Republish
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import AbandonedError, RefusedError
from motetrace_host.shim.device_topics import MAX_TOPIC_BYTES, BootRun, DeviceTopic, DeviceTopics, Tenant
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.side_topic import SideTopic

_UNSAMPLED, _RATE = int(Reason.UNSAMPLED), int(Reason.RATE)
# QoS 0 or 1 (a packet id or none), no DUP, no RETAIN.
_PLAIN_QOS = {0x30: 0, 0x32: 1}
_TRACEPARENT_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["traceparent"]
_SEQREF_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["seqref"]


class Reader:
    """Reads chunks.

    What is broken in a message goes with it, to be counted once. What makes no message (a retained reading, a broken
    birth, a topic without a device) is in no ledger that would know it again: it is counted here, at each delivery.

    Args:
        nonces: told of each boot that is not inferred.
        device_property: the user property that names the device, "" where the topic does; then all goes the long way.
        from_devices: those of the side topics on which devices speak, so that it holds there, too.
        expiry_s: with which message expiry interval a boot said that it publishes, 0 for none.
    """

    def __init__(
        self,
        places: DeviceTopics,
        side_topics: Sequence[SideTopic],
        tenant: Tenant,
        bare_seq: BareSeq,
        answers: CommandReplies,
        counters: Counters,
        nonces: Nonces,
        with_trailer: frozenset[str] = frozenset(),
        republished: frozenset[str] = frozenset(),
        entropy: Callable[[int], bytes] = os.urandom,
        on_poison: Callable[[str, Exception], None] = lambda device_id, error: None,
        device_property: str = "",
        from_devices: Sequence[SideTopic] = (),
        clones: CloneWatch | None = None,
        expiry_s: Callable[[str, bytes], int] = lambda device_id, boot_nonce: 0,
    ) -> None:
        self._places = places
        self._side_topics = side_topics
        self._tenant = tenant
        self._bare_seq = bare_seq
        self._answers = answers
        self._counters = counters
        self._nonces = nonces
        self._with_trailer = with_trailer
        self._republished = republished
        self._entropy = entropy
        self._on_poison = on_poison
        self._device_property = device_property
        self._from_devices = from_devices
        self._clones = clones or CloneWatch(counters)
        self._expiry_s = expiry_s

    def read(self, chunk: Chunk, batch: Batch) -> None:
        """Add the messages of a chunk to a batch. Never raises on what a device can send."""
        _, connection, received_unix_ns, _ = chunk
        acks, records, places, runs = batch.acks, batch.records, batch.places, batch.runs
        known, find, head = self._places.by_topic, self._places.find, self._places.plans.head
        read_plain, pack = fast_path.read, RECORD.pack
        if self._device_property:
            known, find = {}, _nowhere
        self._counters.received += len(chunk.frames)
        if received_unix_ns >= self._nonces.due_unix_ns:
            self._nonces.look(received_unix_ns)
        for first, body in chunk.frames:
            qos = _PLAIN_QOS.get(first)
            if qos is not None:
                topic_end = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
                topic = body[2:topic_end]
                place = known.get(topic) or find(topic)
                if place is not None and place.plain:
                    plain = read_plain(body, topic_end + 2 * qos)
                    if plain is not None and plain[4][:4] not in place.tails:
                        nonce, seq, flags, trace_id, span_id, age_ms, payload_bytes, left_s = plain
                        if left_s >= 0 and self._expiry_s(place.device_id, nonce) > left_s:  # it was held
                            self._read_long(
                                Delivery(publish_packet.read(first, body), connection, received_unix_ns), batch
                            )
                            continue
                        kind = _TRACEPARENT_KIND | qos
                        if not trace_id:
                            trace_id, span_id = place.deriver.ids(nonce, seq)
                            kind = _SEQREF_KIND | qos
                        run = place.turns.last
                        if run is None or run.boot_nonce != nonce:
                            run = place.boots.get(nonce) or self._meet(place, nonce, received_unix_ns)
                            self._clones.boot_changed(place.turns, run, received_unix_ns)
                        if run.open or run.before:
                            batch.saw(run, seq)
                        else:  # the same, written out
                            run.open = True
                            run.start = run.end = seq
                            runs.append(run)
                        if place.version != head.version:
                            self._places.replan(place)
                        if not place.alone:
                            decision = int(head.decide(place.plan, trace_id, flags, received_unix_ns).reason)
                        elif flags & place.needs != place.needs:  # as core.sampling.head.by_rate, written out
                            decision = _UNSAMPLED
                        else:
                            decision = _RATE if trace_id[9:] >= place.cut else place.left_out
                        records.append(
                            pack(trace_id, span_id, nonce, seq, received_unix_ns, place.id, age_ms, payload_bytes,
                                 flags, kind, decision, place.threshold_id if decision == _RATE else 0)
                        )  # fmt: skip
                        places.append(place)
                        packet_id = body[topic_end] << 8 | body[topic_end + 1] if qos else 0
                        if packet_id:
                            acks.append(packet_id)
                        continue
            self._read_long(Delivery(publish_packet.read(first, body), connection, received_unix_ns), batch)

    def _meet(self, place: DeviceTopic, boot_nonce: bytes, received_unix_ns: int) -> BootRun:
        """A boot on a place for the first time since the shim began."""
        self._answers.learn(place.device_id, boot_nonce)
        run = self._places.boot(place, boot_nonce)
        if not run.checked:
            run.checked = True
            self._nonces.meet(place.device_id, boot_nonce, received_unix_ns)
        return run

    def _read_long(self, delivery: Delivery, batch: Batch) -> None:
        packet = delivery.packet
        try:
            self._add(delivery, batch)
        except (AbandonedError, RefusedError):  # the database's fault, and not the message's
            raise
        except Exception as error:  # noqa: BLE001 (whatever a device sent, the next message is read)
            device_id = self._device_of(packet)
            self._counters.reject(device_id, "internal_error")
            self._on_poison(device_id, error)
        if packet.packet_id:
            batch.acks.append(packet.packet_id)

    def _add(self, delivery: Delivery, batch: Batch) -> None:
        packet = delivery.packet
        try:
            place = self._place_of(packet)
        except WireError as error:
            self._counters.reject("", packet.fault or error.reason)
            return
        if place is None:
            self._not_a_reading(delivery)
            return
        if packet.retain:
            if packet.fault:
                self._counters.reject(place.device_id, packet.fault)
            # Sent at subscribe, with the context of long ago: that trace must not be extended.
            self._counters.retained += 1
            return
        found = self.identify(place, delivery)
        decision = self._decide(place, found)
        batch.add(found, place, decision, place.threshold_id if decision == _RATE else 0)
        if found.boot_nonce is not None and found.seq is not None:
            run = place.boots.get(found.boot_nonce)
            if run is None and found.origin == "seq":
                run = self._places.boot(place, found.boot_nonce)
                run.inferred = True
            elif run is None:
                run = self._meet(place, found.boot_nonce, delivery.received_unix_ns)
            if run is not place.turns.last and not run.inferred:
                self._clones.boot_changed(place.turns, run, delivery.received_unix_ns)
            batch.saw(run, found.seq)
        if place.template in self._republished:
            batch.republishes.append((len(batch.acks) if packet.packet_id else -1, Republish(found, delivery)))

    def _decide(self, place: DeviceTopic, found: Message) -> int:
        head = self._places.plans.head
        if found.origin in ("traceparent", "seqref"):
            if place.version != head.version:
                self._places.replan(place)
            plan = place.plan
        else:  # the host made the context: no device was asked
            plan = head.plan(place.device_id, Policy.RESAMPLE)
        randomness = ot_member.randomness(found.tracestate, found.trace_id)
        return int(head.decide(plan, found.trace_id, found.flags, found.received_unix_ns, randomness).reason)

    def identify(self, place: DeviceTopic, delivery: Delivery) -> Message:
        """Read a message the long way."""
        packet = delivery.packet
        may_have_trailer = place.template in self._with_trailer
        found = context.read(packet.user_properties, packet.payload, may_have_trailer=may_have_trailer)
        if place.policy == Policy.OFF:
            found = context.ignored(found)
        nonce, answering, entropy = None, None, b""
        if found.origin == "seq" and found.seq is not None:
            nonce = self._bare_seq.boot_nonce(
                place.device_id, found.seq, packet.dup, delivery.received_unix_ns, self._entropy(5)
            )
        elif found.parent_id is not None:
            answering = self._answers.boot_nonce(place.device_id, found.parent_id)
        elif found.origin.startswith("none:"):
            entropy = self._entropy(message.ENTROPY_BYTES)
        if answering is None and found.boot_nonce is not None:
            self._answers.learn(place.device_id, found.boot_nonce)
        arrival = Arrival(
            place.device_id,
            packet.topic,
            place.template,
            packet.qos,
            packet.payload,
            delivery.received_unix_ns,
            packet.fault,
            place.policy,
        )
        identified = message.identify(
            found,
            arrival,
            key=self._tenant.key,
            tenant=self._tenant.name,
            boot_nonce=nonce,
            answering_boot=answering,
            entropy=entropy,
        )
        left_s = packet.left_s
        if left_s is None or nonce is not None or identified.boot_nonce is None:
            return identified
        held_s = message.held_s(self._expiry_s(place.device_id, identified.boot_nonce), left_s)
        return replace(identified, held_s=held_s) if held_s else identified

    def _place_of(self, packet: PublishPacket) -> DeviceTopic | None:
        """Where a packet belongs, None when it is no reading. Raises WireError when it does not say which device's."""
        topic = packet.topic.encode()
        if not self._device_property:
            return self._places.find(topic)
        if not self._places.is_reading(packet.topic):
            return None
        return self._places.of_device(topic, device_identity.device_of(packet.user_properties, self._device_property))

    def _device_of(self, packet: PublishPacket) -> str:
        """The device that a packet is of, "" when it names none."""
        try:
            place = self._place_of(packet)
        except WireError:
            return ""
        if place is not None:
            return place.device_id
        return next((device for side in self._side_topics if (device := side.template.match(packet.topic))), "")

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
        packet = delivery.packet
        if self._device_property and side in self._from_devices:
            try:
                device_id = device_identity.device_of(packet.user_properties, self._device_property)
            except WireError as error:
                self._counters.reject("", packet.fault or error.reason)
                return
        try:
            side.receive(device_id, packet, delivery.received_unix_ns)
        except WireError as error:
            self._counters.reject(device_id, error.reason)


def _nowhere(topic: bytes) -> DeviceTopic | None:
    """No place by topic alone."""
    return None
