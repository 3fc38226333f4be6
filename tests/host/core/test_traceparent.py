"""Promises of core/wire/traceparent.py."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import traceparent
from motetrace_host.core.wire.traceparent import TraceParent

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "traceparent.json").read_text())["cases"]
GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
trace_ids = st.binary(min_size=16, max_size=16).filter(any)
parent_ids = st.binary(min_size=8, max_size=8).filter(any)


def obvious(text: str) -> TraceParent | None:
    """The rules once more, slow and plain."""
    fields = text.strip(" \t").split("-")
    hexdigits = set("0123456789abcdef")
    if [len(field) for field in fields[:4]] != [2, 32, 16, 2] or not set("".join(fields[:4])) <= hexdigits:
        return None
    version, trace_id, parent_id, flags = fields[:4]
    if version == "ff" or (version == "00" and len(fields) > 4) or set(trace_id) == {"0"} or set(parent_id) == {"0"}:
        return None
    return TraceParent(bytes.fromhex(trace_id), bytes.fromhex(parent_id), int(flags, 16) % 4)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_standard_says(case: dict) -> None:
    if case["valid"]:
        tp = traceparent.parse(case["input"])
        assert (tp.trace_id.hex(), tp.parent_id.hex(), tp.flags) == (case["trace_id"], case["parent_id"], case["flags"])
        assert traceparent.format(tp) == case["reemitted"]
    else:
        with pytest.raises(WireError) as caught:
            traceparent.parse(case["input"])
        assert caught.value.reason == case["reason"]


@given(trace_ids, parent_ids, st.integers(0, 255))
def test_what_is_formatted_is_read_back_with_only_the_known_flags(
    trace_id: bytes, parent_id: bytes, flags: int
) -> None:
    text = traceparent.format(TraceParent(trace_id, parent_id, flags))
    assert len(text) == traceparent.LENGTH
    assert traceparent.parse(text) == (trace_id, parent_id, flags & 3)
    assert traceparent.parse(f"\t {text} ") == traceparent.parse(text)


@given(st.text())
def test_any_text_is_refused_by_wire_error_or_read_like_the_plain_rules_say(text: str) -> None:
    try:
        found = traceparent.parse(text)
    except WireError as exc:
        assert exc.reason.startswith("traceparent_")
        found = None
    assert found == obvious(text)


# Neighbours of legal characters, what other parsers let through, letters whose lower case has another length.
NEARLY = st.sampled_from(
    [*string.hexdigits, *"-_+. \t\n\r\0gG:@`/", "\u00a0", "\u0130", "\u212a", "\uff10", "\u0660", "\ud800"]
)


@given(st.sampled_from([GOOD, "01" + GOOD[2:], "cc" + GOOD[2:] + "-tail", " " + GOOD, GOOD + "\t"]), st.data())
def test_one_changed_inserted_or_lost_character_is_judged_like_the_plain_rules_say(
    text: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    taken = data.draw(st.integers(0, 1))
    changed = text[:at] + data.draw(NEARLY | st.just("")) + text[at + taken :]
    try:
        found = traceparent.parse(changed)
    except WireError:
        found = None
    assert found == obvious(changed)


def test_format_refuses_ids_that_no_receiver_would_take() -> None:
    for trace_id, parent_id in (
        (bytes(16), b"12345678"),
        (b"short", b"12345678"),
        (b"x" * 16, bytes(8)),
        (b"x" * 16, b"1"),
    ):
        with pytest.raises(ValueError, match="not all zero"):
            traceparent.format(TraceParent(trace_id, parent_id, 1))


def test_the_parts_of_a_structured_trace_id_are_found() -> None:
    tp = traceparent.parse("00-3f2a9c01d40000002a8eb211c80319c1-b7ad6b710000002a-03")
    assert traceparent.seq(tp.trace_id) == 42


def test_ids_are_taken_for_ours_only_with_seq_in_both_and_the_random_flag() -> None:
    ours = traceparent.parse("00-3f2a9c01d40000002a8eb211c80319c1-b7ad6b710000002a-03")
    assert traceparent.is_structured(ours)
    assert traceparent.is_structured(ours._replace(flags=2))
    assert not traceparent.is_structured(ours._replace(flags=1))
    assert not traceparent.is_structured(ours._replace(parent_id=bytes.fromhex("b7ad6b710000002b")))
    assert not traceparent.is_structured(traceparent.parse(GOOD))
