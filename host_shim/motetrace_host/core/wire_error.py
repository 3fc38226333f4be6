"""The device's fault: something on the wire is not what docs/wire-format.md says."""

from __future__ import annotations


class WireError(ValueError):
    """A field received from a device is broken.

    Args:
        reason: Snake case and low in cardinality (never device data): it becomes a counter's name
            and the second half of `trace.origin` in `none:<reason>`.
        message: For humans: names the value, the allowed range and the remedy. May quote device
            data only through `repr`, cut short, so that it is safe to print.
    Source: docs/wire-format.md, "Carriers" (what is broken is counted by reason).
    """

    reason: str

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
