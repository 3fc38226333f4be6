"""Log lines are JSON with OpenTelemetry's names, and repeats are held back and counted."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from motetrace_host.core.printable import printable
from motetrace_host.shim import logging
from motetrace_host.shim.logging import Repeats


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_with_timestamp_level_event_and_ids() -> None:
    out = io.StringIO()
    logging.configure("info", "json", out).info(
        "message", trace_id="ab" * 16, span_id="cd" * 8, **{"device.id": "s\n\x1b"}
    )
    line = out.getvalue()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert set(fields) == {"timestamp", "level", "event", "trace_id", "span_id", "device.id"}
    assert (fields["level"], fields["event"]) == ("info", "message")


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    logger = logging.configure("warning", "json", out)
    logger.info("quiet")
    logger.debug("quiet")
    assert out.getvalue() == ""


def test_a_stream_that_is_no_terminal_gets_json_unless_told_otherwise() -> None:
    out = io.StringIO()
    logging.configure("info", "", out).info("event")
    assert out.getvalue().startswith("{")
    structlog.reset_defaults()
    out = io.StringIO()
    logging.configure("info", "console", out).info("event")
    assert not out.getvalue().startswith("{")


def test_a_warning_that_repeats_is_written_once_in_ten_seconds_with_the_number_held_back() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)

    def written(reason: str) -> bool:
        try:
            repeats(None, "warning", event := {"event": "refused", "reason": reason})
        except structlog.DropEvent:
            return False
        last.append(event.get("held_back", 0))
        return True

    last: list[object] = []
    assert [written("a") for _ in range(4)] == [True, False, False, False]
    assert written("b")
    now = 10.0
    assert written("a")
    assert last == [0, 0, 3]


HOSTILE = "a\x1b[2J\x9b31m\x07\r\u202e\u2028b\\x1b"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_text_that_nobody_made_printable_reaches_no_log_raw(log_format: str) -> None:
    out = io.StringIO()
    logger = logging.configure("info", log_format, out)
    try:
        raise ValueError(f"{HOSTILE}\n2026-01-01T00:00:00Z [error    ] forged")
    except ValueError:
        logger.exception("broke", error=HOSTILE)
    lines = out.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert "\\x1b[2J" in out.getvalue()
    assert not [line for line in lines if line.startswith("2026-01-01")], "a traceback forges no line of the log"
    if log_format == "json":
        (line,) = lines
        assert json.loads(line)["error"] == "a\\x1b[2J\\x9b31m\\x07\\x0d\\u202e\\u2028b\\x1b"


def test_what_was_escaped_already_is_not_escaped_again() -> None:
    out = io.StringIO()
    logging.configure("info", "json", out).info("event", **{"device.id": printable("s\x1b\\")})
    assert json.loads(out.getvalue())["device.id"] == "s\\x1b\\\\"
