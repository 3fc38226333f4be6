"""The waterfall for a reader's eyes: what it shows, and that nothing a device sends can break the page."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.spans import waterfall
from motetrace_host.core.spans.span import Span, SpanKind, Status
from tests.host.spans.span_samples import MS, START, make_span, spans

FAILURE = (
    'partial write: field type conflict: input field "temp" on measurement "sensor" is type string, '
    "already exists as type float dropped=1"
)


def reading(*, failed: bool) -> list[Span]:
    """The five spans of one reading with an 800 ms cold start."""
    known = {"device.id": "sensor-0042", "device.seq": 7, "device.firmware": "1.4.2", "trace.origin": "traceparent"}
    publish = make_span(end_unix_ns=START + 31 * MS, attributes=known)
    end = START + 31 * MS
    forward = make_span(
        name="broker_forward", parent_id=publish.span_id, start_unix_ns=end, end_unix_ns=end, service_name="mqtt-broker"
    )
    rule = make_span(
        name="rule_evaluate",
        kind=SpanKind.CONSUMER,
        parent_id=publish.span_id,
        start_unix_ns=START + 33 * MS,
        end_unix_ns=START + 842 * MS,
        attributes={"rule.matched": True},
        service_name="rule-engine",
    )
    store = make_span(
        name="transform_store",
        parent_id=rule.span_id,
        start_unix_ns=START + 35 * MS,
        end_unix_ns=START + 841 * MS,
        attributes={"function.name": "store", "function.cold_start": True},
        service_name="function",
    )
    write = make_span(
        name="db_write",
        parent_id=store.span_id,
        start_unix_ns=START + 836 * MS,
        end_unix_ns=START + 841 * MS,
        attributes={"db.status": "error", "device.id": "sensor-0042"} if failed else {"db.status": "ok"},
        service_name="function",
        status=Status.ERROR if failed else Status.UNSET,
        status_message=FAILURE if failed else "",
    )
    return [write, rule, store, forward, publish]


def cells(line: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line
    )


def test_a_good_trace_in_80_columns() -> None:
    assert waterfall.draw(reading(failed=False), width=80) == (
        "trace 0c5c23f1d10000000712345678abcdef  5 spans  842 ms  OK\n"
        "device sensor-0042  seq 7  firmware 1.4.2  origin traceparent\n"
        "\n"
        "span                 service      0          842 ms      start  duration\n"
        "device_publish       device       =                         +0   31.0 ms\n"
        "  broker_forward     mqtt-broker   |                  +31.0 ms         0\n"
        "  rule_evaluate      rule-engine   ================   +33.0 ms    809 ms\n"
        "    transform_store  function      ################   +35.0 ms    806 ms slowest\n"
        "      function.name=store function.cold_start=true\n"
        "      db_write       function                     =    +836 ms   5.00 ms\n"
    )


def test_a_failed_trace_in_80_columns_says_what_failed_why_and_whose_it_is() -> None:
    assert waterfall.draw(reading(failed=True), width=80) == (
        "trace 0c5c23f1d10000000712345678abcdef  5 spans  842 ms\n"
        'ERROR in db_write: partial write: field type conflict: input field "temp" on\n'
        'measurement "sensor" is type string, already exists as type float dropped=1\n'
        "device sensor-0042  seq 7  firmware 1.4.2  origin traceparent\n"
        "\n"
        "span                 service      0          842 ms      start  duration\n"
        "device_publish       device       =                         +0   31.0 ms\n"
        "  broker_forward     mqtt-broker   |                  +31.0 ms         0\n"
        "  rule_evaluate      rule-engine   ================   +33.0 ms    809 ms\n"
        "    transform_store  function      ################   +35.0 ms    806 ms slowest\n"
        "      function.name=store function.cold_start=true\n"
        "      db_write       function                     !    +836 ms   5.00 ms\n"
        '        ! partial write: field type conflict: input field "temp" on measurement\n'
        '        "sensor" is type string, already exists as type float dropped=1\n'
        "        db.status=error device.id=sensor-0042\n"
    )


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200])
def test_bars_use_the_width_there_is(width: int) -> None:
    lines = waterfall.draw(reading(failed=True), width=width).splitlines()
    assert max(len(line) for line in lines) == width
    slowest = next(line for line in lines if line.endswith("slowest"))
    assert slowest.count("#") == pytest.approx((width - 19 - 11 - 33) * 806 / 842, abs=2)


def test_the_order_of_the_spans_does_not_matter() -> None:
    trace = reading(failed=True)
    assert waterfall.draw(trace) == waterfall.draw(reversed(trace)) == waterfall.draw(trace + trace)


@given(st.lists(spans(trace_id=st.just(b"\1" * 16)), max_size=6), st.integers(0, 500), st.booleans())
def test_no_line_is_too_long_and_nothing_a_device_sends_reaches_the_terminal_raw(
    trace: list[Span], width: int, colour: bool
) -> None:
    text = waterfall.draw(trace, width=width, colour=colour)
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        plain = re.sub(r"\x1b\[[0-9]+m", "", line) if colour else line
        assert cells(plain) <= max(waterfall.MIN_WIDTH, min(waterfall.MAX_WIDTH, width))
        assert plain.isprintable()


@given(st.lists(spans(trace_id=st.just(b"\1" * 16)), min_size=1, max_size=6))
def test_colour_changes_nothing_but_colour(trace: list[Span]) -> None:
    coloured = waterfall.draw(trace, colour=True)
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == waterfall.draw(trace)


def test_colour_marks_failure_red_and_the_slow_stage_yellow() -> None:
    text = waterfall.draw(reading(failed=True), colour=True)
    assert "\x1b[31m      db_write" in text
    assert "\x1b[33m    transform_store" in text


def test_an_escape_sequence_in_a_message_is_shown_and_not_obeyed() -> None:
    hostile = make_span(name="a\x1b[2Jb\nfake", status=Status.ERROR, status_message="x\r\x9b31m\u202ey")
    text = waterfall.draw([hostile], width=200)
    assert "a\\x1b[2Jb\\nfake" in text.replace("\\x0a", "\\n")
    assert "x\\x0d\\x9b31m\\u202ey" in text


def test_an_orphan_is_drawn_at_the_top_and_says_whose_child_it_is() -> None:
    orphan = make_span(name="rule_evaluate", parent_id=b"\xab" * 8)
    assert "\n  its parent abababababababab is not among these spans\n" in waterfall.draw([orphan])


def test_clocks_that_differ_are_said() -> None:
    parent = make_span()
    early = make_span(parent_id=parent.span_id, start_unix_ns=START - 3 * MS)
    assert "    starts 3.00 ms before its parent: clocks differ\n" in waterfall.draw([parent, early])


def test_a_span_that_ends_before_it_starts_is_a_point_and_said() -> None:
    backwards = make_span(end_unix_ns=START - MS)
    text = waterfall.draw([backwards, make_span()])
    assert "  ends before it starts: drawn as a point\n" in text
    assert "-1.00 ms" in text


def test_a_trace_without_any_length_has_points_and_no_slowest() -> None:
    text = waterfall.draw([make_span(end_unix_ns=START), make_span(end_unix_ns=START)])
    assert text.count("|") == 2
    assert "slowest" not in text


def test_a_message_that_matched_no_rule_is_pointed_out_though_it_is_no_error() -> None:
    published = make_span()
    unmatched = make_span(
        name="rule_evaluate",
        parent_id=published.span_id,
        end_unix_ns=START + 1,
        attributes={"rule.name": "hot", "rule.matched": False},
    )
    assert "\n    rule.name=hot rule.matched=false\n" in waterfall.draw([published, unmatched])


def test_a_failure_without_a_message_is_still_a_failure() -> None:
    text = waterfall.draw([make_span(status=Status.ERROR)])
    assert "ERROR in device_publish\n" in text
    assert "! failed, no message\n" in text


def test_a_trace_of_very_many_spans_is_cut_and_the_rest_counted() -> None:
    many = [make_span() for _ in range(waterfall.MAX_LINES + 50)]
    assert waterfall.draw(many).endswith("... and 50 more spans\n")


def test_no_spans_is_said() -> None:
    assert waterfall.draw([]) == "no spans\n"


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0"),
        (1, "1 ns"),
        (999, "999 ns"),
        (1_000, "1.00 us"),
        (12_345, "12.3 us"),
        (999_949, "1000 us"),
        (999_960, "1.00 ms"),
        (842_000_000, "842 ms"),
        (999_999_999, "1.00 s"),
        (59_940_000_000, "59.9 s"),
        (59_960_000_000, "1.00 min"),
        (3_600_000_000_000, "1.00 h"),
        (86_400_000_000_000, "1.00 d"),
        (2**63 - 1, "106752 d"),
        (-1_500_000, "-1.50 ms"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(ns: int, shown: str) -> None:
    assert waterfall.length(ns) == shown


@given(st.integers(-(2**63), 2**63))
def test_a_duration_is_never_longer_than_its_column(ns: int) -> None:
    assert len(waterfall.length(ns)) <= 9
