"""How each kind of device writes its context into a message.

Written from docs/wire-format.md and not with the project's own encoders: the soak counts independently of them.
"""

from __future__ import annotations

from tests.soak.boot import Boot

KINDS = ("traceparent", "seqref", "json", "json-seqref", "trailer", "trailer-seqref")
BARE = "bare"
MAKES_TRACE_IDS = frozenset(("traceparent", "json", "trailer"))
MQTT_5 = frozenset(("traceparent", "seqref"))


def message(boot: Boot, seq: int) -> tuple[str, bytes | None, bytes]:
    """Topic, MQTT 5 properties (None: it speaks 3.1.1) and payload."""
    topic = f"devices/{boot.device_id}/{'binary' if boot.kind.startswith('trailer') else 'telemetry'}"
    if boot.kind in MQTT_5:
        return topic, _user_property(boot.kind, text(boot, seq)), b'{"temp":21.5,"n":%d}' % seq
    if boot.kind == BARE:
        return topic, None, b'{"seq":%d,"temp":21.5}' % seq
    if boot.kind.startswith("trailer"):
        return topic, None, b"\x15\x05%d" % seq + trailer(boot, seq)
    name = "seqref" if boot.kind == "json-seqref" else "traceparent"
    return topic, None, b'{"%s":"%s","temp":21.5}' % (name.encode(), text(boot, seq))


def text(boot: Boot, seq: int) -> bytes:
    """The context as a device writes it in text."""
    if boot.kind in MAKES_TRACE_IDS:
        return f"00-{boot.trace_id(seq).hex()}-{boot.parent_id(seq).hex()}-03".encode()
    return f"{boot.nonce.hex()}-{seq:08x}-03".encode()


def trailer(boot: Boot, seq: int) -> bytes:
    """The context behind a binary payload."""
    if boot.kind in MAKES_TRACE_IDS:
        context = b"\0\0" + boot.trace_id(seq) + b"\1" + boot.parent_id(seq) + b"\2\3"
    else:
        context = boot.nonce + seq.to_bytes(4, "big") + b"\3"
    return context + bytes((_crc8(context), len(context))) + b"\xf5\x4d"


def birth(boot: Boot) -> tuple[str, bytes]:
    """Topic and payload of the birth message."""
    return f"motetrace/{boot.device_id}/birth", b'{"v":1,"nonce":"%s","fw":"1.4.2"}' % boot.nonce.hex().encode()


def _user_property(name: str, value: bytes) -> bytes:
    pair = b"\x26" + len(name).to_bytes(2, "big") + name.encode() + len(value).to_bytes(2, "big") + value
    return bytes((len(pair),)) + pair


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ (0x107 if crc & 0x80 else 0)
    return crc
