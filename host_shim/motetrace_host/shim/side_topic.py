"""Messages beside the readings: what devices, stages and brokers report about themselves."""

from __future__ import annotations

from typing import Protocol

from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate


class SideTopic(Protocol):
    """One kind of them.

    Attributes:
        template: where they come; the level `{device_id}` names the sender.
        retained: what the broker kept from earlier is wanted too.
        from_device: a device sends them; where a user property names devices, it does so here, too.
    """

    @property
    def template(self) -> TopicTemplate: ...
    @property
    def retained(self) -> bool: ...
    @property
    def from_device(self) -> bool: ...

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take a message in. Raises WireError, whose reason is counted."""
