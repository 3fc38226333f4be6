"""From packets to a batch: which device, which context, which ids.

Most messages are of one of two shapes and go the short way, straight from bytes to a record. Whatever is not goes the
long way, through `publish_packet`, `context` and `message`; both give the same record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from motetrace_host.core import context, message, plain_publish, publish_packet
from motetrace_host.core.link import Chunk, Delivery
from motetrace_host.core.message import Arrival, Message
from motetrace_host.core.record import CARRIER_BITS, NUMBERED, ORIGIN_BITS, RECORD
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling.head import Policy
from motetrace_host.core.sampling.reason import Reason
from motetrace_host.core.wire_error import WireError
from motetrace_host.shim.answers import Answers
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch, Republish
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.places import BootRun, Place, Places, Tenant
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.shim.tally import Tally

_UNSAMPLED, _RATE = int(Reason.UNSAMPLED), int(Reason.RATE)
# QoS 0 or 1 (a packet id or none), no DUP, no RETAIN.
_PLAIN_QOS = {0x30: 0, 0x32: 1}
_TRACEPARENT_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["traceparent"]
_SEQREF_KIND = NUMBERED | CARRIER_BITS["user_property"] | ORIGIN_BITS["seqref"]


class Reader:
    """Reads chunks.

    What is broken in a message goes with it, to be counted once. What makes no message (a retained reading, a broken
    birth, a topic without a device) is in no ledger that would know it again: it is counted here, at each delivery.
    """

    def __init__(
        self,
        places: Places,
        side_topics: Sequence[SideTopic],
        tenant: Tenant,
        bare_seq: BareSeq,
        answers: Answers,
        tally: Tally,
        with_trailer: frozenset[str] = frozenset(),
        republished: frozenset[str] = frozenset(),
        entropy: Callable[[int], bytes] = os.urandom,
        on_poison: Callable[[str, Exception], None] = lambda device_id, error: None,
        clones: CloneWatch | None = None,
    ) -> None:
        self._places = places
        self._side_topics = side_topics
        self._tenant = tenant
        self._bare_seq = bare_seq
        self._answers = answers
        self._tally = tally
        self._with_trailer = with_trailer
        self._republished = republished
        self._entropy = entropy
        self._on_poison = on_poison
        self._clones = clones or CloneWatch(tally)

    def read(self, chunk: Chunk, batch: Batch) -> None:
        """Add the messages of a chunk to a batch. Never raises on what a device can send."""
        _, connection, received_unix_ns, _ = chunk
        acks, records, places = batch.acks, batch.records, batch.places
        find, read_plain, pack = self._places.find, plain_publish.read, RECORD.pack
        head = self._places.plans.head
        self._tally.received += len(chunk.frames)
        for first, body in chunk.frames:
            qos = _PLAIN_QOS.get(first)
            if qos is not None:
                topic_end = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
                place = find(body[2:topic_end])
                if place is not None and place.plain:
                    plain = read_plain(body, topic_end + 2 * qos)
                    if plain is not None and plain[4][:4] not in place.tails:
                        nonce, seq, flags, trace_id, span_id, age_ms, payload_bytes = plain
                        kind = _TRACEPARENT_KIND | qos
                        if not trace_id:
                            trace_id, span_id = place.deriver.ids(nonce, seq)
                            kind = _SEQREF_KIND | qos
                        run = place.boots.get(nonce) or self._meet(place, nonce)
                        if run is not place.turns.last:
                            self._clones.turned(place.turns, run, received_unix_ns)
                        if run.open and run.end + 1 == seq:
                            run.end = seq
                        else:
                            batch.saw(run, seq)
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

    def _meet(self, place: Place, boot_nonce: bytes) -> BootRun:
        """A boot on a place for the first time since the shim began."""
        self._answers.learn(place.device_id, boot_nonce)
        return self._places.boot(place, boot_nonce)

    def _read_long(self, delivery: Delivery, batch: Batch) -> None:
        packet = delivery.packet
        try:
            self._add(delivery, batch)
        except Exception as error:  # noqa: BLE001 (whatever a device sent, the next message is read)
            device_id = self.device_of(packet.topic)
            self._tally.reject(device_id, "internal_error")
            self._on_poison(device_id, error)
        if packet.packet_id:
            batch.acks.append(packet.packet_id)

    def _add(self, delivery: Delivery, batch: Batch) -> None:
        packet = delivery.packet
        place = self._places.find(packet.topic.encode())
        if place is None:
            self._not_a_reading(delivery)
            return
        if packet.retain:
            if packet.fault:
                self._tally.reject(place.device_id, packet.fault)
            # Sent at subscribe, with the context of long ago: that trace must not be extended.
            self._tally.retained += 1
            return
        found = self.identify(place, delivery)
        decision = self._decide(place, found)
        batch.add(found, place, decision, place.threshold_id if decision == _RATE else 0)
        if found.boot_nonce is not None and found.seq is not None:
            run = place.boots.get(found.boot_nonce) or self._places.boot(place, found.boot_nonce)
            run.inferred = found.origin == "seq"
            if run is not place.turns.last and not run.inferred:
                self._clones.turned(place.turns, run, delivery.received_unix_ns)
            batch.saw(run, found.seq)
        if place.template in self._republished:
            batch.republishes.append((len(batch.acks) if packet.packet_id else -1, Republish(found, delivery)))

    def _decide(self, place: Place, found: Message) -> int:
        head = self._places.plans.head
        if found.origin in ("traceparent", "seqref"):
            if place.version != head.version:
                self._places.replan(place)
            plan = place.plan
        else:  # the host made the context: no device was asked
            plan = head.plan(place.device_id, Policy.OFF if place.policy == Policy.OFF else Policy.RESAMPLE)
        randomness = ot_member.randomness(found.tracestate, found.trace_id)
        return int(head.decide(plan, found.trace_id, found.flags, found.received_unix_ns, randomness).reason)

    def identify(self, place: Place, delivery: Delivery) -> Message:
        """Read a message the long way."""
        packet = delivery.packet
        may_have_trailer = place.template in self._with_trailer
        found = context.read(packet.user_properties, packet.payload, may_have_trailer=may_have_trailer)
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
        )
        return message.identify(
            found,
            arrival,
            key=self._tenant.key,
            tenant=self._tenant.name,
            boot_nonce=nonce,
            answering_boot=answering,
            entropy=entropy,
        )

    def device_of(self, topic: str) -> str:
        """The device that a topic names, "" when it names none."""
        place = self._places.find(topic.encode())
        if place is not None:
            return place.device_id
        return next((device for side in self._side_topics if (device := side.template.match(topic))), "")

    def _not_a_reading(self, delivery: Delivery) -> None:
        packet = delivery.packet
        for side in self._side_topics:
            device_id = side.template.match(packet.topic)
            if device_id is not None:
                try:
                    side.hear(device_id, packet, delivery.received_unix_ns)
                except WireError as error:
                    self._tally.reject(device_id, error.reason)
                return
        self._tally.reject("", packet.fault or "topic_without_device")
