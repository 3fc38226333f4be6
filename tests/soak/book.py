"""The spans that the trace backend was sent, by message: the first 9 bytes of a trace-id are boot nonce and seq."""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import repeat

NAMES = ("device_publish", "broker_forward")
_WORDS = 3  # of a message: the rest of its trace-id, and one span-id for each of the NAMES


class BootSpans:
    """The spans of one boot: three 64-bit words for each number from 1 on, 0 where nothing came."""

    __slots__ = ("words",)

    def __init__(self) -> None:
        self.words = array("Q")

    def note(self, seq: int, slot: int, word: int) -> int | None:
        """Keep a word; gives what stood there before, None when that was another one."""
        index = (seq - 1) * _WORDS + slot
        if index >= len(self.words):
            self.words.extend(repeat(0, (seq + 1000) * _WORDS - len(self.words)))
        before = self.words[index]
        if not before:
            self.words[index] = word
        return before if before in (0, word) else None

    def of(self, seq: int) -> tuple[int, int, int]:
        """Rest of the trace-id, span-id of device_publish, span-id of broker_forward."""
        begin = (seq - 1) * _WORDS
        found = self.words[begin : begin + _WORDS]
        return (found[0], found[1], found[2]) if len(found) == _WORDS else (0, 0, 0)


class SpanBook:
    """Every span that reached the backend for good: that it answered with 2xx, or refused for good.

    Attributes:
        boots: by nonce. spans: how many different ones. repeats: how many came once more.
        faults: spans that must not be: a third one of a message, a second trace of it, an unknown name.
    """

    def __init__(self) -> None:
        self.boots: dict[bytes, BootSpans] = {}
        self.spans = 0
        self.repeats = 0
        self.refused = 0
        self.names: Counter[str] = Counter()
        self.faults: list[str] = []

    def enter(self, trace_id: bytes, span_id: bytes, name: str) -> None:
        """Note one span."""
        seq = int.from_bytes(trace_id[5:9], "big")
        if name not in NAMES or len(trace_id) != 16 or not 0 < seq < 1 << 24:
            self._wrong(f"span {name!r} {span_id.hex()} of trace {trace_id.hex()}: no device sent that")
            return
        boot = self.boots.setdefault(trace_id[:5], BootSpans())
        # The rest of the trace-id with a bit above it: it may be all zero.
        if boot.note(seq, 0, 1 << 56 | int.from_bytes(trace_id[9:], "big")) is None:
            self._wrong(f"a second trace of one message: {trace_id.hex()}")
        before = boot.note(seq, 1 + NAMES.index(name), int.from_bytes(span_id, "big"))
        if before is None:
            self._wrong(f"a third span of one message: {name} {span_id.hex()} of trace {trace_id.hex()}")
        elif before:
            self.repeats += 1
        else:
            self.spans += 1

    def _wrong(self, what: str) -> None:
        if len(self.faults) < 1000:
            self.faults.append(what)
