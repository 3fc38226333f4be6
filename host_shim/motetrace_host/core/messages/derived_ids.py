"""Ids that any number of hosts agree on without talking to each other.

A seqref names the message and has nothing random; the rest comes from a keyed BLAKE2b of
(tenant, device, boot nonce, seq). Keyed, so that seeing topics and seqs is not enough to make up ids or to link them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

from motetrace_host.core.ledger.runs import MAX_SEQ

MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 64
MAX_NAME_BYTES: Final = 255
_SEQREF: Final = b"motetrace.seqref"
_ROOT: Final = b"motetrace.root\0\0"
_SPAN: Final = b"motetrace.span\0\0"
_NO_SPAN_ID: Final = bytes(8)
BEGUN_SPAN_ID: Final = blake2b(digest_size=8, person=_SPAN)
"""What `derive_span_id` adds trace-id, parent-id and name to; copying it is cheaper where very many are derived."""


class Derived(NamedTuple):
    """The two ids of one message that carried only a seqref or a bare seq.

    Args:
        trace_id: 16 bytes; byte 0..8 are boot_nonce and seq.
        span_id: 8 bytes, not all zero: the device's own span, `device_publish`.
    Source: docs/wire-format.md, "seqref".
    """

    trace_id: bytes
    span_id: bytes


def _tenant_bytes(key: bytes, tenant: str) -> bytes:
    """Check key and tenant; give the tenant in UTF-8."""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"key has {len(key)} bytes; {MIN_KEY_BYTES}..{MAX_KEY_BYTES} are needed")
    encoded = tenant.encode()
    if len(encoded) > MAX_NAME_BYTES:
        raise ValueError(f"tenant has {len(encoded)} bytes in UTF-8; at most {MAX_NAME_BYTES}")
    return encoded


class Deriver:
    """Derives the ids of one device's messages; what they share is hashed once.

    Args:
        key: 16..64 bytes, secret, the same on every host of a tenant.
        tenant: UTF-8, 0..255 bytes.
        device_id: UTF-8, 1..255 bytes.
    Raises:
        ValueError: a length is wrong; names the value and the range.
    """

    __slots__ = ("_begun",)

    def __init__(self, key: bytes, tenant: str, device_id: str) -> None:
        tenant_bytes, device_bytes = _tenant_bytes(key, tenant), device_id.encode()
        if not 1 <= len(device_bytes) <= MAX_NAME_BYTES:
            raise ValueError(f"device_id has {len(device_bytes)} bytes in UTF-8; 1..{MAX_NAME_BYTES} are needed")
        # A length byte before each part: ("ab", "c") and ("a", "bc") must not share ids.
        shared = b"%c%b%c%b\x05" % (len(tenant_bytes), tenant_bytes, len(device_bytes), device_bytes)
        self._begun = blake2b(shared, digest_size=15, key=key, person=_SEQREF)

    def ids(self, boot_nonce: bytes, seq: int) -> Derived:
        """Derive trace-id and device span-id of a message in one go (half the price of one after the other).

        Args:
            boot_nonce: 5 bytes.
            seq: 0..2**32-1; 0 only from foreign firmware's bare seq.
        Raises:
            ValueError: a length or range is wrong; names the value and the range.
        Source: docs/wire-format.md, "seqref"; tests/vectors/derive.json.
        """
        if len(boot_nonce) != 5:
            raise ValueError(f"boot_nonce has {len(boot_nonce)} bytes; it has 5")
        if not 0 <= seq <= MAX_SEQ:
            raise ValueError(f"seq {seq} is outside 0..{MAX_SEQ}")
        number = seq.to_bytes(4, "big")
        hashed = self._begun.copy()
        hashed.update(boot_nonce + b"\x04" + number)
        digest = hashed.digest()
        return Derived(boot_nonce + number + digest[:7], not_zero(digest[7:]))


def derive(key: bytes, tenant: str, device_id: str, boot_nonce: bytes, seq: int) -> Derived:
    """Derive the ids of a single message; arguments and errors as for Deriver and its `ids`.

    Source: docs/wire-format.md, "seqref"; tests/vectors/derive.json.
    """
    return Deriver(key, tenant, device_id).ids(boot_nonce, seq)


def derive_root(key: bytes, tenant: str, message_key: bytes) -> Derived:
    """Derive the ids of a message without a number whose trace is not continued but linked (`--trust ... link`).

    Args:
        key: 16..64 bytes. tenant: UTF-8, 0..255 bytes.
        message_key: 16 bytes, which hold device, topic, payload and the context that came (`message.Message.key`).
    Raises:
        ValueError: a length is wrong; names the value and the range.
    Source: docs/trust.md, "Ids under link".
    """
    tenant_bytes = _tenant_bytes(key, tenant)
    if len(message_key) != 16:
        raise ValueError(f"message_key has {len(message_key)} bytes; it has 16")
    named = b"%c%b\x10%b" % (len(tenant_bytes), tenant_bytes, message_key)
    digest = blake2b(named, digest_size=24, key=key, person=_ROOT).digest()
    return Derived(digest[:16], not_zero(digest[16:]))


def derive_span_id(trace_id: bytes, parent_id: bytes, name: str) -> bytes:
    """Derive the span-id of a span the host makes itself, so that two hosts, or one twice, make one span.

    Not keyed: where the trace-id is seen, so is the span.

    Args:
        trace_id: 16 bytes.
        parent_id: 8 bytes, the device's span. A continued trace holds several messages: this distinguishes them.
        name: The span's name, such as `broker_forward`.
    Returns:
        8 bytes, not all zero.
    Raises:
        ValueError: an id has the wrong length.
    Source: docs/wire-format.md, "Keyed derivation"; tests/vectors/derive.json.
    """
    if len(trace_id) != 16:
        raise ValueError(f"trace_id has {len(trace_id)} bytes; it has 16")
    if len(parent_id) != 8:
        raise ValueError(f"parent_id has {len(parent_id)} bytes; it has 8")
    hashed = BEGUN_SPAN_ID.copy()
    hashed.update(trace_id + parent_id + name.encode())
    return not_zero(hashed.digest())


def not_zero(span_id: bytes) -> bytes:
    """Keep the one value that W3C forbids out; reached once in 2**64."""
    return span_id if span_id != _NO_SPAN_ID else b"\0\0\0\0\0\0\0\x01"
