"""What the standard and docs/wire-format.md say, in the most obvious way: held against what the device code does."""

import re
from collections.abc import Callable

from tests.device.fakes.aes128 import aes

# W3C Trace Context Level 2, 3.2.2: version-format; a later version may go on after a dash.
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<parent_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<tail>-.*)?",
    re.DOTALL,
)
_LENGTH_IN_ORDER = re.compile(rb".{55}|(?!00).{55}-.*", re.DOTALL)


def read_traceparent(text: bytes) -> tuple[str | None, bytes]:
    """(None, what an answer keeps: trace-id, dash, two digits of flags), or (reason, b"")."""
    text = text.strip(b" \t")
    if not _LENGTH_IN_ORDER.fullmatch(text):
        return "traceparent_length", b""
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return "traceparent_format", b""
    if match["version"] == b"ff":
        return "traceparent_version", b""
    if not int(match["trace_id"], 16):
        return "traceparent_zero_trace_id", b""
    if not int(match["parent_id"], 16):
        return "traceparent_zero_parent_id", b""
    return None, match["trace_id"] + b"-%02x" % (int(match["flags"], 16) & 3)


class Boot:
    """One device from its seed on, message by message; docs/wire-format.md and tests/vectors/tracer.json, `about`."""

    def __init__(self, seed: bytes, mode: str, after_seq: int) -> None:
        self._block: Callable[[bytes], bytes] = aes(seed[:16], 1).encrypt
        self._tail = seed[16:22]
        self._mode = mode
        self._boot(bytes(5))
        self.seq = after_seq

    def _boot(self, nonce: bytes) -> None:
        drawn = self._block(nonce + bytes(4) + self._tail + b"\1")
        self.nonce, self._prefix, self.seq = drawn[:5], drawn[5:9], 0

    def message(self, threshold: int, age_ms: int | None) -> tuple[bytes, bytes | None]:
        """The next context, and the tracestate beside it."""
        if self.seq == 2**32 - 1:
            self._boot(self.nonce)
        self.seq += 1
        drawn = self._block(self.nonce + (self.seq // 2 * 2).to_bytes(4, "big") + self._tail + b"\0")
        random = drawn[8:15] if self.seq % 2 else drawn[:7]
        flags = b"03" if int.from_bytes(random[:2], "big") >= threshold else b"02"
        number = b"%08x" % self.seq
        age = None if age_ms is None else b"%07x" % min(age_ms, 0xFFFFFFF)
        nonce = self.nonce.hex().encode()
        if self._mode == "seqref":
            return b"-".join([nonce, number, flags] + ([age] if age is not None else [])), None
        parent = self._prefix.hex().encode() + number
        context = b"-".join([b"00", nonce + number + random.hex().encode(), parent, flags])
        return context, None if age is None else b"mt=a:" + age
