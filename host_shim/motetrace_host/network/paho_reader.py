"""How bytes come in when `--receive paho` is given: by paho-mqtt's own reader, through its public interface alone.

The way back from `bulk_reader`, to find out whether that one is at fault. What comes behind is the same: each
message is written back into the bytes of a packet. docs/receive-path.md lists what this costs, and on which lawful
packets paho drops the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from motetrace_host.core.mqtt.framing import Frame


def receive(
    client_id: str, deliver: Callable[[list[Frame], int], None]
) -> tuple[paho.Client, Callable[[Sequence[int]], None]]:
    """Make a client that reads as paho does; see `bulk_reader.receive`."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)
    exactly_once: set[int] = set()

    def on_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
        if message.qos == 2:
            exactly_once.add(message.mid)
        first, body = frame(message)
        deliver([(first, body)], len(body))

    def acknowledge(packet_ids: Sequence[int]) -> None:
        for packet_id in packet_ids:
            client.ack(packet_id, 2 if packet_id in exactly_once else 1)
        exactly_once.difference_update(packet_ids)

    client.on_message = on_message
    client.on_pre_connect = lambda *_: exactly_once.clear()
    return client, acknowledge


def frame(message: paho.MQTTMessage) -> Frame:
    """Write a message back into the packet it came in; its properties in the order of their identifiers in paho."""
    try:
        topic = message.topic.encode()
    except UnicodeDecodeError:
        topic = b"\xff"  # as unreadable as what came
    packet_id = message.mid.to_bytes(2, "big") if message.qos else b""
    properties = message.properties.pack() if message.properties else b"\0"  # type: ignore[no-untyped-call]
    body = len(topic).to_bytes(2, "big") + topic + packet_id + properties + bytes(message.payload)
    return 0x30 | message.dup << 3 | message.qos << 1 | message.retain, body
