"""Messages beside the readings: what devices, stages and brokers say about themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Protocol

from motetrace_host.core.ledger.delta import Delta
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.mqtt.topics import TopicTemplate


class SideTopic(Protocol):
    """One kind of them.

    Attributes:
        template: where they come; the level `{device_id}` names who speaks.
        retained: what the broker kept from earlier is wanted too.
    """

    @property
    def template(self) -> TopicTemplate: ...
    @property
    def retained(self) -> bool: ...

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take a message in. Raises WireError, whose reason is counted."""


class BatchParticipant(Protocol):
    """Something that is written with the batch in which it was heard, before that is acknowledged."""

    def runs(self) -> Iterable[Delta]:
        """What the ledger of numbers is to merge."""

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the rest down, inside the transaction of the batch; called again when that fails."""

    def committed(self) -> None:
        """It is on disk."""
