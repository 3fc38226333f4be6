"""Birth messages: what devices publish at boot, in memory for every message."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import NamedTuple

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import baggage, birth
from motetrace_host.core.wire.birth import Birth
from motetrace_host.shim.database_retry import RetryingReads
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.storage.boot_table import BootTable

_MAX_BOOTS = 20_000


class Known(NamedTuple):
    """What a boot's messages get: W3C baggage for a republish; the message expiry interval it publishes with."""

    baggage: str = ""
    expiry_s: int = 0


_NOTHING = Known()


class Births(SideTopic):
    """Births by (device, boot nonce); None stands for a device's latest boot. A side topic.

    Args:
        prefix: of the side topics, such as `motetrace/`.
        on_boot: called with device, nonce and payload of each.
    """

    retained = True  # its attributes belong on the spans of its readings, whenever this shim began to listen
    from_device = True

    def __init__(self, ledger: RetryingReads, prefix: str, on_boot: Callable[[str, bytes, bytes], None]) -> None:
        super().__init__(prefix + "{device_id}/birth")
        self.live: set[tuple[str, bytes]] = set()
        """Boots (device, nonce) whose birth came as it happened: what is missing before their first message is lost."""
        self._ledger = ledger
        self._on_boot = on_boot
        self._known: dict[tuple[str, bytes | None], Known] = {}
        self._unsaved: list[tuple[str, Birth, int]] = []

    def receive(self, device_id: str, packet: PublishPacket, received_unix_ns: int) -> None:
        """Take a birth message in; an empty one only clears what the broker kept.

        Raises:
            WireError: a `birth_*` reason.
        """
        if not packet.payload:
            return
        parsed = birth.parse(packet.payload)
        known = _known(parsed)
        self._known[device_id, parsed.boot_nonce] = known
        self._known[device_id, None] = known
        self._unsaved.append((device_id, parsed, received_unix_ns))
        if not packet.retain:
            self.live.add((device_id, parsed.boot_nonce))
        self._on_boot(device_id, parsed.boot_nonce, packet.payload)

    def of(self, device_id: str, boot_nonce: bytes | None) -> Known:
        """What is known of a boot."""
        key = (device_id, boot_nonce)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._load(device_id, boot_nonce)
        return known

    def born(self, device_id: str, boot_nonce: bytes | None) -> bool:
        """Whether a boot had a birth message; with None, whether any boot of the device had."""
        return self.of(device_id, boot_nonce) is not _NOTHING

    def expiry_s(self, device_id: str, boot_nonce: bytes) -> int:
        """The message expiry interval that a boot publishes readings with, 0 when its birth does not name one."""
        return self.of(device_id, boot_nonce).expiry_s

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the births."""
        ledger = BootTable(connection)
        for device_id, parsed, received_unix_ns in self._unsaved:
            ledger.store_birth(device_id, parsed, received_unix_ns)

    def committed(self) -> None:
        self._unsaved.clear()
        if len(self._known) > _MAX_BOOTS:
            self._known.clear()
        if len(self.live) > _MAX_BOOTS:
            self.live.clear()

    def _load(self, device_id: str, boot_nonce: bytes | None) -> Known:
        text = self._ledger.birth(device_id, boot_nonce)
        if text is None:
            return _NOTHING
        try:
            return _known(birth.parse(text.encode()))
        except WireError:  # written by a version with other rules
            return Known()


def _known(parsed: Birth) -> Known:
    members = []
    for key, value in parsed.baggage:
        with contextlib.suppress(ValueError):  # a name that baggage cannot carry stays an attribute
            members.append(baggage.member(key, value))
    text = baggage.format(baggage.limit(tuple(members), baggage.BaggageLimits()))
    return Known(text, parsed.expiry_s)
