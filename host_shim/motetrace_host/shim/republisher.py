"""Publishes readings once more for consumers that cannot derive ids: full traceparent, no tracing in the payload."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from motetrace_host.core.messages.message import IdentifiedMessage
from motetrace_host.core.mqtt.connection import Delivery, Published
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.printable import printable
from motetrace_host.core.wire import baggage, binary_trailer, json_members, traceparent
from motetrace_host.core.wire.traceparent import TraceParent
from motetrace_host.shim.births import Births
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.logging import Log

OURS = frozenset(("traceparent", "seqref", "tracestate", "baggage"))

Publish = Callable[[str, bytes, Sequence[tuple[str, str]], Sequence[tuple[int, int | str | bytes]]], int]


class Republisher:
    """Republishes at QoS 1 what came on the topics it was given.

    What the broker repeats on a new connection while the republish is unanswered is not published a second time: each
    repeat is set against one republish made for an earlier connection. Everything else is published, a message that is
    repeated later, too: whether the broker has it cannot be known after a kill, and twice is better than never.
    Consumers recognise it by its trace-id and parent-id.

    Why not by the key alone: whatever has one key is one row in the ledger, but two readings that a device made equal
    (a traceparent it never renews, a boot nonce it draws only once) are two readings to a consumer. The connection
    and DUP tell them from repeats: a broker repeats on a new connection only (MQTT 5.0, 4.4), with DUP set (3.3.1.1).

    Args:
        routes: from topic template to topic template; the second without wildcards.
        publish: `Subscriber.publish`.
    """

    def __init__(
        self,
        routes: Sequence[tuple[str, TopicTemplate]],
        publish: Publish,
        births: Births,
        counters: Counters,
        log: Log,
    ) -> None:
        self._routes = dict(routes)
        self._publish = publish
        self._births = births
        self._counters = counters
        self._log = log
        # packet id -> the connection that brought the message last, ascending
        self._unanswered: dict[bytes, dict[int, int]] = {}
        self._keys: dict[int, bytes] = {}

    def republish(self, message: IdentifiedMessage, delivery: Delivery) -> int:
        """Publish a message once more; gives the packet id to wait for, 0 for none: what cannot be is counted."""
        try:
            return self._republish(message, delivery)
        except Exception as error:  # noqa: BLE001 (it is stored: the next one is published)
            self._counters.reject(message.arrival.device_id, "republish_impossible")
            topic = printable(message.arrival.topic)
            self._log.warning("republish_impossible", topic=topic, error=printable(str(error)))
            return 0

    def answered(self, answer: Published) -> None:
        """Take the broker's answer: it has a republish, or refused it."""
        key = self._keys.pop(answer.packet_id, None)
        if key is not None:
            del self._unanswered[key][answer.packet_id]
            if not self._unanswered[key]:
                del self._unanswered[key]
        if answer.refused:
            self._counters.reject("", "republish_refused")
            self._log.warning("republish_refused", reason=answer.refused)
        else:
            self._counters.republished += 1

    def __len__(self) -> int:
        return len(self._keys)

    def _republish(self, message: IdentifiedMessage, delivery: Delivery) -> int:
        ids, arrival, context = message.ids, message.arrival, message.context
        target = self._routes[arrival.template]
        # An inferred boot has a nonce of ours, which no birth message names: the device's latest birth is meant.
        boot_nonce = None if context.origin == "seq" else ids.boot_nonce
        birth_baggage = self._births.of(arrival.device_id, boot_nonce).baggage
        packet = delivery.packet
        repeated = self._repeated(ids.key, delivery)
        if repeated:
            return repeated
        properties = [pair for pair in packet.user_properties if pair[0] not in OURS]
        sent = TraceParent(ids.trace_id, ids.span_id, context.flags)
        properties.append(("traceparent", traceparent.format(sent)))
        if context.tracestate:
            properties.append(("tracestate", context.tracestate))
        carried = baggage.passed_on(",".join(filter(None, (context.baggage, birth_baggage))), baggage.BaggageLimits())
        if carried:
            properties.append(("baggage", carried))
        strip = binary_trailer.strip if context.carrier == "trailer" else json_members.strip
        packet_id = self._publish(target.fill(arrival.device_id), strip(packet.payload), properties, packet.passthrough)
        self._unanswered.setdefault(ids.key, {})[packet_id] = delivery.connection
        self._keys[packet_id] = ids.key
        return packet_id

    def _repeated(self, key: bytes, delivery: Delivery) -> int:
        unanswered = self._unanswered.get(key)
        if not unanswered or not delivery.packet.dup:
            return 0
        packet_id, connection = next(iter(unanswered.items()))
        if connection == delivery.connection:
            return 0
        del unanswered[packet_id]
        unanswered[packet_id] = delivery.connection
        return packet_id
