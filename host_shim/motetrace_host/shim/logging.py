"""Structured logs on stderr: JSON lines or a readable console, by structlog; what libraries log goes the same way.

Fields are named as OpenTelemetry names them in logs: timestamp, level, event, trace_id (32 hex), span_id (16 hex),
    device.id.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

from motetrace_host.core.printable import escaped

Log = structlog.typing.FilteringBoundLogger
"""The logger of all parts."""
REPEAT_S = 10.0
_MAX_EVENTS = 200


class Repeats:
    """Lets a warning or error through once in `REPEAT_S` seconds per event and reason; with how many were held back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, _: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor."""
        if method not in ("warning", "error"):
            return event
        key = (str(event.get("event")), str(event.get("reason", ""))[:80])
        now = self._monotonic()
        since, held_back = self._last.get(key, (-REPEAT_S, 0))
        if now - since < REPEAT_S:
            self._last[key] = (since, held_back + 1)
            raise structlog.DropEvent
        if len(self._last) >= _MAX_EVENTS:
            self._last.clear()
        self._last[key] = (now, 0)
        if held_back:
            event["held_back"] = held_back
        return event


def on_one_line(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: no text of a device, a broker or a library reaches a terminal raw.

    Device text is logged through `printable`; this is for the rest, such as the text of an
    exception. The lines of a traceback are indented, so that none of them reads as a line of the log.
    """
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            lines = value.splitlines() if key == "exception" else [value]
            event[key] = "\n".join([("  " if key == "exception" else "") + escaped(line) for line in lines])
    return event


class _Library(logging.Handler):
    """Brings what libraries log through `logging` (uvicorn, urllib3, asyncio) to structlog: no raw line, no traceback.

    Without a handler, Python writes warnings and errors to stderr as they are.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as event `<logger's name>` with its text as `reason`."""
        try:
            logger = structlog.get_logger()
            write = logger.error if record.levelno >= logging.ERROR else logger.warning
            exception = {"exc_info": record.exc_info} if record.exc_info else {}
            write(record.name, reason=record.getMessage().strip(), **exception)
        except Exception:  # noqa: BLE001  its log must never fail the library
            self.handleError(record)


def configure(level: str, log_format: str, stream: TextIO | None = None) -> Log:
    """Set up logging of the whole process and give its logger.

    Args:
        level: debug, info, warning or error.
        log_format: json, console, or "" for console on a terminal and json elsewhere.
    """
    out = stream or sys.stderr
    console = log_format == "console" or (not log_format and out.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            Repeats(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            on_one_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Library) for handler in root.handlers):
        root.addHandler(_Library(logging.WARNING))
    logger: Log = structlog.get_logger()
    return logger
