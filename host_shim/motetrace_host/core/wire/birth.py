"""The birth message: what a device sends about itself once per boot, so that no message has to carry it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from motetrace_host.core.spans.span import AttributeValue
from motetrace_host.core.wire.side_message import SideMessage

MAX_BAGGAGE: Final = 64
_MAX_VALUE: Final = 256


class _Wire(msgspec.Struct):
    v: int
    nonce: str
    mode: str = ""
    fw: str = ""
    boot: int | None = None
    reset: str = ""
    expiry_s: int = 0
    baggage: dict[str, str] = msgspec.field(default_factory=dict)


_MESSAGE: Final = SideMessage(_Wire, "birth", "birth", 4096)


@dataclass(frozen=True, slots=True)
class Birth:
    """One boot of one device, as its birth message describes it.

    Attributes:
        boot_nonce: 5 bytes.
        firmware: "" when it does not name one.
        attributes: what each `device_publish` of this boot carries: `device.firmware`, `device.boot_count`,
            `device.reset_cause`, `baggage.<key>`.
        text: the message as received.
        expiry_s: message expiry interval that its readings are published with, 1..2**32-1; 0: none.
    """

    boot_nonce: bytes
    firmware: str
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    baggage: tuple[tuple[str, str], ...] = ()
    text: str = ""
    expiry_s: int = 0


def parse(payload: bytes) -> Birth:
    """Read a birth message, a JSON object of at most 4096 bytes.

    Raises:
        WireError: `birth_size`, `birth_format`, `birth_version`, `birth_nonce`, `birth_baggage` (more than 64 members).
    Source: docs/device-messages.md, "birth".
    """
    wire = _MESSAGE.read(payload)
    with _MESSAGE.decoding():
        text = payload.decode()
    nonce = _MESSAGE.nonce(wire.nonce)
    if len(wire.baggage) > MAX_BAGGAGE:
        raise _MESSAGE.fault("baggage", f"has {len(wire.baggage)} baggage members; at most {MAX_BAGGAGE}")
    firmware = (wire.fw or wire.baggage.get("firmware_version", ""))[:_MAX_VALUE]
    attributes: dict[str, AttributeValue] = {
        f"baggage.{key[:_MAX_VALUE]}": value[:_MAX_VALUE] for key, value in wire.baggage.items()
    }
    if firmware:
        attributes["device.firmware"] = firmware
    if wire.reset:
        attributes["device.reset_cause"] = wire.reset[:_MAX_VALUE]
    if wire.boot is not None and 0 <= wire.boot < 2**63:
        attributes["device.boot_count"] = wire.boot
    expiry_s = wire.expiry_s if 0 < wire.expiry_s < 2**32 else 0
    return Birth(nonce, firmware, attributes, tuple(wire.baggage.items()), text, expiry_s)
