"""What devices said at boot, near at hand for every message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from motetrace_host.core import birth
from motetrace_host.core.birth import Birth
from motetrace_host.core.span import AttributeValue
from motetrace_host.core.wire_error import WireError

_MAX_BOOTS = 20_000
MAX_BAGGAGE_BYTES = 8192


class BirthLedger(Protocol):
    """What is needed of the ledger."""

    def birth(self, device_id: str, boot_nonce: bytes | None) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """What a boot's messages get: span attributes, and W3C baggage text for a republish."""

    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    baggage: str = ""


_NOTHING = Known()


class Births:
    """Births by (device, boot nonce); None stands for a device's latest boot."""

    def __init__(self, ledger: BirthLedger) -> None:
        self._ledger = ledger
        self._known: dict[tuple[str, bytes | None], Known] = {}
        self._unsaved: list[tuple[str, Birth, int]] = []

    def heard(self, device_id: str, payload: bytes, received_unix_ns: int) -> bytes:
        """Take a birth message in; gives its boot nonce.

        Raises:
            WireError: a `birth_*` reason.
        """
        parsed = birth.parse(payload)
        known = _known(parsed)
        self._known[device_id, parsed.boot_nonce] = known
        self._known[device_id, None] = known
        self._unsaved.append((device_id, parsed, received_unix_ns))
        return parsed.boot_nonce

    def of(self, device_id: str, boot_nonce: bytes | None) -> Known:
        """What is known of a boot."""
        key = (device_id, boot_nonce)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._load(device_id, boot_nonce)
        return known

    def unsaved(self) -> Iterator[tuple[str, Birth, int]]:
        """What the ledger does not have yet: device, birth, receive time."""
        yield from self._unsaved

    def saved(self) -> None:
        """The ledger has them now."""
        self._unsaved.clear()
        if len(self._known) > _MAX_BOOTS:
            self._known.clear()

    def _load(self, device_id: str, boot_nonce: bytes | None) -> Known:
        text = self._ledger.birth(device_id, boot_nonce)
        if text is None:
            return _NOTHING
        try:
            return _known(birth.parse(text.encode()))
        except WireError:  # written by a version with other rules
            return _NOTHING


def _known(parsed: Birth) -> Known:
    members: list[str] = []
    size = 0
    for key, value in parsed.baggage:
        member = f"{quote(key, safe='')}={quote(value, safe='')}"
        size += len(member) + 1
        if size > MAX_BAGGAGE_BYTES:
            break
        members.append(member)
    return Known(parsed.attributes, ",".join(members))
