"""Which device a stored message is of, on which topic, and what its birth message says of it."""

from __future__ import annotations

import sqlite3

from motetrace_host.core.errors import WireError
from motetrace_host.core.messages.message_spans import MessageSource
from motetrace_host.core.spans.span import AttributeValue
from motetrace_host.core.wire import birth
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import DeviceTopicRow, MessageLog

_AHEAD = 500


class DeviceLookup:
    """Looks places and births up; the caller keeps what it needs again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._log = MessageLog(connection)
        self._ledger = BootTable(connection)
        self._ahead: dict[int, DeviceTopicRow] = {}
        self._last = 0

    def find(self, place: int, boot_nonce: bytes, inferred: bool) -> MessageSource:
        """What spans of a boot's messages at one place (device and topic) name.

        Args:
            inferred: the boot's nonce is the host's, which no birth names: the device's latest birth is meant.
        """
        row = self._place(place)
        return MessageSource(row.device_id, row.topic, row.template, self._birth(row.device_id, boot_nonce, inferred))

    def _place(self, number: int) -> DeviceTopicRow:
        """A place by its id; when they are asked for in their order, as a new fleet is, many are read at once."""
        if number not in self._ahead:
            self._ahead = self._log.places_from(number, _AHEAD if number == self._last + 1 else 1)
        self._last = number
        return self._ahead.get(number) or self._log.place(number)

    def threshold(self, number: int) -> int:
        """The threshold that records name by a number."""
        return self._log.thresholds()[number]

    def _birth(self, device_id: str, boot_nonce: bytes, inferred: bool) -> dict[str, AttributeValue]:
        text = self._ledger.birth(device_id, None if inferred else boot_nonce)
        if text is None:
            return {}
        try:
            return birth.parse(text.encode()).attributes
        except WireError:  # written by a version with other rules
            return {}
