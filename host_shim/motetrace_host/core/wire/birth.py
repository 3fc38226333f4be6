"""The birth message: what a device says about itself once per boot, so that no message has to carry it."""

from __future__ import annotations

from binascii import unhexlify
from dataclasses import dataclass, field

import msgspec

from motetrace_host.core.errors import WireError
from motetrace_host.core.spans.span import AttributeValue

MAX_BYTES = 4096
MAX_BAGGAGE = 64
_MAX_VALUE = 256


class _Wire(msgspec.Struct):
    v: int
    nonce: str
    mode: str = ""
    fw: str = ""
    boot: int | None = None
    reset: str = ""
    expiry_s: int = 0
    baggage: dict[str, str] = msgspec.field(default_factory=dict)


_decoder = msgspec.json.Decoder(_Wire)


@dataclass(frozen=True, slots=True)
class Birth:
    """One boot of one device, in its own words.

    Attributes:
        boot_nonce: 5 bytes.
        firmware: "" when it does not say.
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
    """Read a birth message.

    Args:
        payload: JSON object, at most 4096 bytes; unknown members are ignored.
    Raises:
        WireError: `birth_size`, `birth_format` (not JSON, a member missing or of the wrong type),
            `birth_version` (not 1), `birth_nonce` (not 10 lower-case hex digits), `birth_baggage` (more than 64).
    Source: docs/device-messages.md, "birth".
    """
    if len(payload) > MAX_BYTES:
        raise WireError("birth_size", f"birth has {len(payload)} bytes; at most {MAX_BYTES}")
    try:
        wire = _decoder.decode(payload)
        text = payload.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("birth_format", f"birth is not the expected JSON object: {str(error)[:200]}") from error
    if wire.v != 1:
        raise WireError("birth_version", f"birth has version {wire.v}; this host reads version 1")
    try:
        nonce = unhexlify(wire.nonce)
    except ValueError:
        nonce = b""
    if len(nonce) != 5 or wire.nonce.lower() != wire.nonce:
        raise WireError("birth_nonce", f"birth's nonce {wire.nonce[:20]!r} is not 10 lower-case hex digits")
    if len(wire.baggage) > MAX_BAGGAGE:
        raise WireError("birth_baggage", f"birth has {len(wire.baggage)} baggage members; at most {MAX_BAGGAGE}")
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
