"""What stops a report."""

from __future__ import annotations


class ReportError(ValueError):
    """The report cannot be made, by the operator's fault; the message says why and what to do."""
