"""The values that pass between the connection to the broker and the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.core.mqtt.publish_packet import PublishPacket


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and the credentials for it.

    Attributes:
        port: 1..65535.
        ca_file: PEM file, "": the system's certificates. client_cert, client_key: PEM files, both or neither. With
            `tls` only.
    """

    host: str
    port: int
    tls: bool = False
    ca_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    client_cert: str = ""
    client_key: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What the shim asks of the broker for itself: `expiry_s` 1..2**32-1, `receive_maximum` 1..65535."""

    client_id: str
    expiry_s: int
    receive_maximum: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic filter at QoS 1; `retained`: also what the broker kept from earlier."""

    topic_filter: str
    retained: bool = False


@dataclass(slots=True)
class Delivery:
    """One message as the broker sent it. `connection` counts connections: an older one's packet ids mean nothing."""

    packet: PublishPacket
    connection: int
    received_unix_ns: int


class Chunk(NamedTuple):
    """PUBLISH packets that were read together, in the broker's order.

    Attributes:
        connection: counts connections, from 1: an older one's packet ids mean nothing.
        size_bytes: what the packets take in memory, about.
    """

    frames: Sequence[Frame]
    connection: int
    received_unix_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Published:
    """The broker's answer to one of our own publishes; `refused` is "" or its reason."""

    packet_id: int
    refused: str = ""


class Receivers(NamedTuple):
    """Who gets what comes from the broker, on the network thread; none of them may block.

    Attributes:
        messages: PUBLISH packets, in the broker's order.
        published: answers to our own publishes.
        events: changes of the connection, by name and with details (`network/subscriber.py` lists them).
        broker_queue: what the broker reports of its own queues, on its `$SYS/` topics.
    """

    messages: Callable[[Chunk], None]
    published: Callable[[Published], None]
    events: Callable[[str, dict[str, Any]], None]
    broker_queue: Callable[[PublishPacket], None] = lambda packet: None
