"""From a delivery to an identified message: which device, which context, which ids."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motetrace_host.core import context, message
from motetrace_host.core.link import Delivery
from motetrace_host.core.message import Arrival, Message
from motetrace_host.core.topic import TopicTemplate
from motetrace_host.core.wire_error import WireError
from motetrace_host.shim.answers import Answers
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.births import Births
from motetrace_host.shim.tally import Tally

_MAX_TOPICS = 20_000


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose devices these are: name (0..255 bytes) and secret key (16..64 bytes)."""

    name: str
    key: bytes


class Reader:
    """Reads deliveries one by one.

    What is broken in a message goes with it, to be counted once. What makes no message (a retained reading, a broken
    birth, a topic without a device) is in no ledger that would know it again: it is counted here, at each delivery.
    """

    def __init__(
        self,
        topics: Sequence[TopicTemplate],
        birth_topic: TopicTemplate,
        tenant: Tenant,
        bare_seq: BareSeq,
        answers: Answers,
        births: Births,
        tally: Tally,
        trailer_topics: Sequence[TopicTemplate] = (),
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._topics = topics
        self._birth_topic = birth_topic
        self._tenant = tenant
        self._bare_seq = bare_seq
        self._answers = answers
        self._births = births
        self._tally = tally
        self._with_trailer = frozenset(topic.template for topic in trailer_topics)
        self._entropy = entropy
        self._seen_topics: dict[str, tuple[str, str] | None] = {}

    def read(self, delivery: Delivery) -> Message | None:
        """Give the message, or None when it is no reading: a birth, a retained one, one without a device."""
        packet = delivery.packet
        place = self._place(packet.topic)
        if place is None:
            self._not_a_reading(delivery)
            return None
        device_id, template = place
        if packet.retain:
            if packet.fault:
                self._tally.reject(device_id, packet.fault)
            # Sent at subscribe, with the context of long ago: that trace must not be extended.
            self._tally.retained += 1
            return None
        found = context.read(packet.user_properties, packet.payload, may_have_trailer=template in self._with_trailer)
        nonce, answering, entropy = None, None, b""
        if found.origin == "seq" and found.seq is not None:
            nonce = self._bare_seq.boot_nonce(
                device_id, found.seq, packet.dup, delivery.received_unix_ns, self._entropy(5)
            )
        elif found.parent_id is not None:
            answering = self._answers.boot_nonce(device_id, found.parent_id)
        elif found.origin.startswith("none:"):
            entropy = self._entropy(message.ENTROPY_BYTES)
        if answering is None and found.boot_nonce is not None:
            self._answers.learn(device_id, found.boot_nonce)
        arrival = Arrival(
            device_id,
            packet.topic,
            template,
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
        place = self._place(topic)
        return place[0] if place else self._birth_topic.match(topic) or ""

    def _place(self, topic: str) -> tuple[str, str] | None:
        try:
            return self._seen_topics[topic]
        except KeyError:
            pass
        place = None
        for template in self._topics:
            device_id = template.match(topic)
            if device_id is not None:
                place = (device_id, template.template)
                break
        if len(self._seen_topics) >= _MAX_TOPICS:
            self._seen_topics.clear()
        self._seen_topics[topic] = place
        return place

    def _not_a_reading(self, delivery: Delivery) -> None:
        packet = delivery.packet
        device_id = self._birth_topic.match(packet.topic)
        if device_id is None:
            self._tally.reject("", packet.fault or "topic_without_device")
        elif packet.payload:  # an empty one clears what the broker kept
            try:
                boot_nonce = self._births.heard(device_id, packet.payload, delivery.received_unix_ns)
                self._answers.learn(device_id, boot_nonce)
                self._tally.births += 1
            except WireError as error:
                self._tally.reject(device_id, error.reason)
