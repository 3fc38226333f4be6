"""Messages beside the readings: what devices, stages and brokers report about themselves."""

from __future__ import annotations

from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.shim.batch_participant import BatchParticipant


class SideTopic(BatchParticipant):
    """One kind of them; what it brings is written with the batch in which it came.

    Args:
        template: where they come; the level `{device_id}` names the sender.
    Attributes:
        retained: what the broker kept from earlier is wanted too.
        from_device: a device sends them; where a user property names devices, it does so here, too.
    """

    retained = False
    from_device = False

    def __init__(self, template: str) -> None:
        self.template = TopicTemplate(template)

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take a message in. Raises WireError, whose reason is counted."""
        raise NotImplementedError
