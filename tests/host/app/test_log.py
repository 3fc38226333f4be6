"""Log lines are JSON with OpenTelemetry's names, and repeats are held back and counted."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from motetrace_host.edges import log
from motetrace_host.edges.log import Repeats


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_with_timestamp_level_event_and_ids() -> None:
    out = io.StringIO()
    log.configure("info", "json", out).info("message", trace_id="ab" * 16, span_id="cd" * 8, **{"device.id": "s\n\x1b"})
    line = out.getvalue()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert set(fields) == {"timestamp", "level", "event", "trace_id", "span_id", "device.id"}
    assert (fields["level"], fields["event"]) == ("info", "message")


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    logger = log.configure("warning", "json", out)
    logger.info("quiet")
    logger.debug("quiet")
    assert out.getvalue() == ""


def test_a_stream_that_is_no_terminal_gets_json_unless_told_otherwise() -> None:
    out = io.StringIO()
    log.configure("info", "", out).info("event")
    assert out.getvalue().startswith("{")
    structlog.reset_defaults()
    out = io.StringIO()
    log.configure("info", "console", out).info("event")
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
