"""Which message of which boot a context is about, as far as a stage can read it (without devices and births).

A device's own context names it. Behind the first stage the parent-id is that stage's, and only the trace-id is
left to read from; a foreign trace-id, whose bits are random there, must not pass for one of ours (`is_unlikely`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from motetrace_host.core.wire import traceparent
from motetrace_host.core.wire.context import Context

LOW_SEQ: Final = 1 << 16
_NO_NONCE: Final = bytes(5)


class MessageNumber(NamedTuple):
    """One message of one boot.

    Args:
        boot_nonce: 5 bytes.
        seq: 0..2**32-1.
        is_certain: The context names it; else it is read out of a trace-id whose parent is another span.
    """

    boot_nonce: bytes
    seq: int
    is_certain: bool

    @property
    def is_unlikely(self) -> bool:
        """It may be a foreign trace-id: random bits give a seq as low as `LOW_SEQ` only once in 65,536.

        A boot that really has got so far has many messages, so that one more of them settles it.
        """
        return not self.is_certain and self.seq >= LOW_SEQ


def of_context(context: Context) -> MessageNumber | None:
    """Read the number of the message that a context came with; None when it has none.

    A bare `seq` has none here: only the shim infers its boot.
    Source: docs/hop-reports.md, "What is counted".
    """
    if context.boot_nonce is not None:
        return None if context.seq is None else MessageNumber(context.boot_nonce, context.seq, True)
    return None if context.trace_id is None else of_trace_id(context.trace_id)


def of_trace_id(trace_id: bytes) -> MessageNumber | None:
    """Read a number out of a trace-id alone, 16 bytes; None without a boot nonce (64-bit ids filled up with zeros).

    Why the random flag is not asked for: OpenTelemetry's SDKs of most languages send 01 on where 03 came in, so every
    number behind such a service would be lost. A foreign trace-id passes no more often without that question.
    """
    nonce = trace_id[:5]
    if nonce == _NO_NONCE:
        return None
    return MessageNumber(nonce, traceparent.seq(trace_id), False)
