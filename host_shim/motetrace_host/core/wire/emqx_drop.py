"""An event of EMQX about a message it dropped, republished by a rule: which message it was, and why.

{"event":"message.dropped","id":"0005...","reason":"no_subscribers","clientid":"sensor-0042",
 "topic":"devices/sensor-0042/telemetry","payload":"{...}","pub_props":{"User-Property":{"seqref":"..."}}, ...}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.wire import context as contexts
from motetrace_host.core.wire.side_message import SideMessage

DROPPED_HOP: Final = "broker.dropped"
EVENTS: Final = ("message.dropped", "delivery.dropped")
MAX_BYTES: Final = 1 << 20
MAX_PAIRS: Final = 256
_MAX_NAME: Final = 255
_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Pair(msgspec.Struct):
    key: str = ""
    value: str = ""


class _Properties(msgspec.Struct):
    pairs: list[_Pair] = msgspec.field(name="User-Property-Pairs", default_factory=list)
    properties: dict[str, msgspec.Raw] = msgspec.field(name="User-Property", default_factory=dict)


class _Wire(msgspec.Struct):
    event: str
    topic: str
    reason: str = ""
    id: str = ""
    clientid: str | None = None
    from_clientid: str | None = None
    payload: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    pub_props: _Properties | None = None


_MESSAGE: Final = SideMessage(_Wire, "event", "broker event", MAX_BYTES)
_text = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class BrokerDrop:
    """One message that a broker dropped.

    Attributes:
        event: `message.dropped`: before any subscriber got it. `delivery.dropped`: for one subscriber.
        reason: As the broker names it, snake case: `no_subscribers`, `queue_full`, `expired`, ...; else `other`.
        message_id: The broker's own; with the receiver it identifies a repeated event.
        topic: The dropped message's.
        publisher: Client id of the publisher; '' when the event has none.
        receiver: Client id of the subscriber whose copy it was; '' for message.dropped.
        boot_nonce, seq: Which message it was; None when its context is not visible, or has no number.
    """

    event: str
    reason: str
    message_id: str
    topic: str
    publisher: str
    receiver: str
    boot_nonce: bytes | None
    seq: int | None

    def device_id(self, topics: Iterable[TopicTemplate]) -> str | None:
        """Find the device by the topic, as for every message; None when no template matches."""
        return next((found for topic in topics if (found := topic.match(self.topic)) is not None), None)

    def seen_runs(self, device_id: str, received_unix_ms: int) -> list[SeenRuns]:
        """Give what the ledger is to add; nothing without a number."""
        if self.boot_nonce is None or self.seq is None:
            return []
        return [SeenRuns(device_id, self.boot_nonce, DROPPED_HOP, ((self.seq, self.seq),), received_unix_ms)]


def parse(payload: bytes) -> BrokerDrop:
    """Read an event as EMQX 5 gives it to a rule that selects `*`, or at least what BrokerDrop holds.

    Args:
        payload: JSON object, at most 1 MiB: it holds the dropped message. Unknown members are ignored.
    Raises:
        WireError: `event_size`, `event_format`, `event_unknown` (neither message.dropped nor delivery.dropped).
    Source: EMQX 5 documentation, "Data sources and fields": message dropped and delivery dropped events.
    """
    wire = _MESSAGE.read(payload)
    with _MESSAGE.decoding():
        properties, dropped = _user_properties(wire.pub_props), _payload(wire.payload)
    if wire.event not in EVENTS:
        raise _MESSAGE.fault("unknown", f"is {wire.event[:40]!r}, not one of {', '.join(EVENTS)}")
    delivery = wire.event == "delivery.dropped"
    found = contexts.read(properties, dropped)
    return BrokerDrop(
        wire.event,
        wire.reason if _REASON.fullmatch(wire.reason) else "other",
        wire.id[:_MAX_NAME],
        wire.topic,
        ((wire.from_clientid if delivery else wire.clientid) or "")[:_MAX_NAME],
        ((wire.clientid if delivery else None) or "")[:_MAX_NAME],
        found.boot_nonce,
        found.seq if found.boot_nonce is not None else None,
    )


def _user_properties(found: _Properties | None) -> list[tuple[str, str]]:
    """Give the user properties; the pairs where there are, since a JSON object keeps one of each name only."""
    if found is None:
        return []
    if found.pairs:
        return [(pair.key, pair.value) for pair in found.pairs[:MAX_PAIRS]]
    texts = ((name, bytes(raw)) for name, raw in list(found.properties.items())[:MAX_PAIRS])
    return [(name, _text.decode(text)) for name, text in texts if text.startswith(b'"')]


def _payload(raw: msgspec.Raw) -> bytes:
    """Give the dropped message's payload: JSON text in a string, or, when the rule decoded it, the value itself."""
    text = bytes(raw)
    if not text.startswith(b'"'):
        return text
    return _text.decode(text).encode("utf-8", "surrogatepass")
