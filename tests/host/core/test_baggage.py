"""Promises of core/wire/baggage.py."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.wire import baggage
from motetrace_host.core.wire.baggage import BaggageLimits
from tests.work import processor_seconds

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "baggage.json").read_text())
CASES, LIMITS = VECTORS["cases"], VECTORS["limits"]
TOKENS = "!#$%&'*+-.^_`|~0123456789abcXYZ"
KEYS = st.text(TOKENS, min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What breaks parsers: separators, escapes and white space in every order.
HOSTILE = st.text(st.sampled_from(list(',;=% \t"\\+ab1é\0\r\n\x1b\udc80')), max_size=200)
POLICIES = st.builds(
    BaggageLimits, st.none() | st.frozensets(st.sampled_from(["a", "b", "ab", "1"]), max_size=3), st.integers(1, 60)
)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_standard_says(case: dict) -> None:
    assert [list(each) for each in baggage.parse(case["input"])] == case["members"]


@pytest.mark.parametrize("case", LIMITS, ids=[case["name"] for case in LIMITS])
def test_what_may_not_pass_is_left_out_whole(case: dict) -> None:
    allow = None if case["allow"] is None else frozenset(case["allow"])
    assert baggage.passed_on(case["input"], BaggageLimits(allow, case["max_bytes"])) == case["output"]


@given(st.dictionaries(KEYS, TEXTS, max_size=8))
def test_what_is_written_is_read_back(members: dict[str, str]) -> None:
    text = baggage.format(baggage.member(key, value) for key, value in members.items())
    assert text.isascii() and text.isprintable() and " " not in text
    assert baggage.values(baggage.parse(text)) == members


@given(HOSTILE | st.text(max_size=300))
def test_no_text_makes_the_reader_raise_and_each_member_reads_the_same_alone(text: str) -> None:
    members = baggage.parse(text)
    for each in members:
        assert baggage.parse(each.text) == (each,)
        assert each.text.isascii() and each.text.replace("\t", " ").isprintable()
        assert "," not in each.text and each.text.strip(" \t") == each.text
    assert baggage.parse(baggage.format(members)) == members


@given(HOSTILE, POLICIES)
def test_what_is_passed_on_is_within_the_policy_and_loses_nothing_that_fits(text: str, policy: BaggageLimits) -> None:
    out = baggage.passed_on(text, policy)
    assert len(out) <= policy.max_bytes
    before, after = baggage.parse(text), baggage.parse(out)
    assert all(policy.allow is None or each.key in policy.allow for each in after)
    assert baggage.passed_on(out, policy) == out
    left = iter(before)
    assert all(each in left for each in after)  # a subsequence: order kept, nothing made up
    room = policy.max_bytes - len(baggage.format(after)) - bool(after)
    gone = [each for each in before if each not in after and (policy.allow is None or each.key in policy.allow)]
    assert all(len(each.text) > room for each in gone)


@given(HOSTILE.map(baggage.parse), st.dictionaries(KEYS, TEXTS, max_size=4))
def test_an_update_shows_the_new_values_and_keeps_the_text_of_what_did_not_change(
    members: baggage.Members, new: dict[str, str]
) -> None:
    current = baggage.values(members) | new
    updated = baggage.update(members, current)
    assert baggage.values(baggage.parse(baggage.format(updated))) == current
    for each in members:
        if each.key not in new and each.value == current[each.key] and each == members[-1]:
            assert each in updated
    assert baggage.update(members, baggage.values(members)) is members


def test_a_removed_member_goes_and_a_changed_one_loses_the_properties_of_its_old_value() -> None:
    members = baggage.parse("a=1;p,b=2;q=x,c=3;r")
    assert baggage.format(baggage.update(members, {"a": "1", "b": "9", "d": 4})) == "a=1;p,b=9,d=4"
    assert baggage.format(baggage.update(members, {})) == ""
    assert baggage.format(baggage.update((), {"no token": 1, "ok": 2})) == "ok=2"


def test_at_least_64_members_and_8192_bytes_pass_as_the_standard_asks() -> None:
    many = ",".join(f"k{at}=v" for at in range(64))
    assert baggage.passed_on(many, BaggageLimits()) == many
    long = "k=" + "v" * 8190
    assert len(long) == 8192 and baggage.passed_on(long, BaggageLimits()) == long
    assert baggage.passed_on(long + "v", BaggageLimits()) == ""


def test_180_members_are_read_and_no_more() -> None:
    assert len(baggage.parse(",".join(f"k{at}=v" for at in range(500)))) == 180


def test_a_text_beyond_all_bounds_is_read_up_to_a_whole_member() -> None:
    assert baggage.parse("a=1," + "b" * 65_600 + "=2")[0].key == "a"
    assert len(baggage.parse("a=1," + "b" * 65_600 + "=2")) == 1
    assert baggage.parse("b" * 70_000 + "=2") == ()


@pytest.mark.parametrize("filler", [",", ";", "=", " ", "\t", "%", "a", "a=1;p ", "a=1,", ";p=x", "%F0"])
def test_hostile_texts_take_time_in_proportion_to_their_length(filler: str) -> None:
    def seconds(length: int) -> float:
        text = ("a=1" + filler * length)[:65_535]
        return processor_seconds(lambda: baggage.passed_on(text, BaggageLimits()))

    # Quadratic reading of 64 KiB would take thousands of times as long as of 1 KiB.
    assert seconds(65_535) < 400 * max(seconds(1_000), 1e-5)


@pytest.mark.parametrize("wrong", [0, -1, 65_536])
def test_a_cap_out_of_range_is_refused_with_the_range(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"{wrong} bytes.*1\.\.65535"):
        BaggageLimits(max_bytes=wrong)


def test_a_name_that_is_no_token_is_refused() -> None:
    with pytest.raises(ValueError, match="'no token'"):
        BaggageLimits(frozenset({"no token"}))
    with pytest.raises(ValueError, match="''"):
        baggage.member("", 1)
