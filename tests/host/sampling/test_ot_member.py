"""Promises of core/sampling/ot_member.py: th is written and erased, and nobody else's words are touched."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling import threshold as thresholds
from motetrace_host.core.sampling.threshold import NEVER
from motetrace_host.core.wire import tracestate

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sampling.json").read_text())
THRESHOLDS = st.none() | st.integers(0, NEVER - 1)
KEYS = st.from_regex(r"[a-z0-9][a-z0-9_\-*/@]{0,9}", fullmatch=True) | st.sampled_from(["ot", "mt", "foot", "x@ot"])
SUB_KEYS = st.sampled_from(["th:8", "th:fd70a", "th:", "th", "rv:9b8233f7e3a151", "rv:1", "p:8", "thx:1", "xth:2"])
OT_VALUES = st.lists(SUB_KEYS, min_size=1, max_size=5).map(";".join)
VALUES = OT_VALUES | st.from_regex(r"[!-+\--<>-~]{1,20}", fullmatch=True)
MEMBERS = st.dictionaries(KEYS, VALUES, max_size=34).map(lambda found: tuple(found.items())[:32])


def parsed(text: str | None) -> int | None:
    return None if text is None else thresholds.parse_th(text)


@pytest.mark.parametrize("case", VECTORS["rewrite"], ids=lambda case: case["name"])
def test_th_is_written_and_erased_as_the_vectors_say(case: dict) -> None:
    assert ot_member.rewrite(case["input"], parsed(case["th"])) == case["output"]


@pytest.mark.parametrize("case", VECTORS["kept"], ids=lambda case: case["name"])
def test_a_kept_span_says_what_decided_and_only_when_that_is_true(case: dict) -> None:
    trace_id = b"\x11" * 9 + bytes.fromhex(case["random"])
    assert ot_member.kept(case["input"], trace_id, parsed(case["th"])) == case["output"]


@given(MEMBERS, THRESHOLDS)
def test_th_says_what_was_asked_and_every_other_word_stays(members: tracestate.Members, threshold: int | None) -> None:
    text = tracestate.format(members)
    written = tracestate.parse(ot_member.rewrite(text, threshold))
    before, after = dict(members), dict(written)
    assert ot_member.read_leniently(after.get("ot", ""))[0] == threshold
    assert threshold is not None or not any(part.startswith("th:") for part in _parts(after))
    assert [part for part in _parts(after) if not part.startswith("th:") and part != "th"] == [
        part for part in _parts(before) if not part.startswith("th:") and part != "th"
    ]
    others = [member for member in members if member[0] != "ot"]
    left = [member for member in written if member[0] != "ot"]
    assert left == [member for member in others if member in left]  # in their order, none changed
    lost = len(others) - len(left)
    assert not lost or len(members) == 32 or len(text) > 480
    if before.get("ot") != after.get("ot") and "ot" in after:
        assert written[0][0] == "ot"


def _parts(members: dict[str, str]) -> list[str]:
    return [part for part in members.get("ot", "").split(";") if part]


@given(MEMBERS, THRESHOLDS)
def test_the_result_keeps_the_standards_lengths(members: tracestate.Members, threshold: int | None) -> None:
    text = ot_member.rewrite(tracestate.format(members), threshold)
    read_again = tracestate.parse(text)
    assert len(read_again) <= 32
    if text != tracestate.format(members):
        assert len(text) <= 512
    assert all(len(value) <= 256 for _, value in read_again)


@given(MEMBERS, THRESHOLDS)
def test_writing_twice_is_writing_once(members: tracestate.Members, threshold: int | None) -> None:
    once = ot_member.rewrite(tracestate.format(members), threshold)
    assert ot_member.rewrite(once, threshold) == once


@given(MEMBERS, st.binary(min_size=16, max_size=16), THRESHOLDS)
def test_what_is_written_is_reached_by_the_traces_own_r(
    members: tracestate.Members, trace_id: bytes, threshold: int | None
) -> None:
    text = ot_member.kept(tracestate.format(members), trace_id, threshold)
    th = ot_member.read_leniently(dict(tracestate.parse(text)).get("ot", ""))[0]
    came = ot_member.read_leniently(dict(members).get("ot", ""))[0]
    random = ot_member.randomness(tracestate.format(members), trace_id)
    if threshold is None or random < max(threshold, came or 0):
        assert th is None
    else:
        assert th == max(threshold, came or 0)


def test_sub_keys_of_others_are_not_cut_for_ours() -> None:
    full = "x:" + "1" * 254
    assert ot_member.with_threshold(full, 1) == full
    assert ot_member.with_threshold(full[:250], 0) == "th:0;" + full[:250]
    assert ot_member.with_threshold("th:8;" + full[:251], 1) == full[:251]  # the old one is wrong in any case


def test_a_text_that_is_no_tracestate_is_refused_by_reason() -> None:
    with pytest.raises(WireError) as caught:
        ot_member.rewrite("ot=th:8,,=", 0)
    assert caught.value.reason == "tracestate_format"


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (thresholds.parse_th, "xyz", "th_format"),
        (thresholds.parse_rv, "12", "rv_format"),
        (thresholds.parse_rv, "", "rv_format"),
    ],
)
def test_a_broken_sub_key_has_a_reason_and_counts_as_absent(
    parse: Callable[[str], int], text: str, reason: str
) -> None:
    with pytest.raises(WireError) as caught:
        parse(text)
    assert caught.value.reason == reason
    assert ot_member.read_leniently(f"{reason[:2]}:{text};th:8")[reason == "rv_format"] is None
