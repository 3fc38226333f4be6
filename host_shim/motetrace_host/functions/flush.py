"""Spans out of the process before the platform freezes it.

Why a thread: OpenTelemetry's batch processor does not keep to the time that `force_flush` is given, and an exporter
that retries against a dead backend would make the function run, and be paid for, until its own time-out.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

_log = logging.getLogger("motetrace")


def flush(provider: Any, within_ms: int) -> bool:
    """Have a tracer provider export what it holds, for a bounded time. Never raises.

    Args:
        provider: with `force_flush`, as the SDK's; one without, such as the API's, has nothing to export.
        within_ms: 0 does nothing. What is not out by then goes on in a thread of its own: at the next invocation,
            where the process is frozen in between.
    Returns:
        False when it took longer or failed.
    """
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None or within_ms <= 0:
        return True
    done: list[bool] = []

    def run() -> None:
        try:
            done.append(force_flush(within_ms) is not False)
        except Exception:  # noqa: BLE001 (an exporter is the operator's; the function's result is not to suffer)
            _log.exception("motetrace: spans were not exported")
            done.append(False)

    thread = threading.Thread(target=run, name="motetrace-flush", daemon=True)
    thread.start()
    thread.join(within_ms / 1000)
    if not done:
        _log.warning("motetrace: spans were not exported within %d ms; the function does not wait longer", within_ms)
    return done == [True]
