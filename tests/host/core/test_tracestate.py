"""Promises of core/wire/tracestate.py."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import tracestate

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tracestate.json").read_text())
CASES, LIMITS = VECTORS["cases"], VECTORS["limits"]
KEYS = st.from_regex(r"[a-z0-9][a-z0-9_\-*/@]{0,9}", fullmatch=True)
VALUES = st.from_regex(r"[ -+\--<>-~]{0,9}[!-+\--<>-~]", fullmatch=True)
MEMBERS = st.dictionaries(KEYS, VALUES, max_size=8).map(lambda found: tuple(found.items()))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_standard_says(case: dict) -> None:
    if not case["valid"]:
        with pytest.raises(WireError) as caught:
            tracestate.parse(case["input"])
        assert caught.value.reason == case["reason"]
        return
    members = tracestate.parse(case["input"])
    assert [list(member) for member in members] == case["members"]
    if "age_ms" in case:
        assert tracestate.age_ms(members) == case["age_ms"]
    if "age_reason" in case:
        with pytest.raises(WireError) as caught:
            tracestate.age_ms(members)
        assert caught.value.reason == case["age_reason"]


@pytest.mark.parametrize("case", LIMITS, ids=[case["name"] for case in LIMITS])
def test_a_long_list_is_cut_by_the_standards_rule(case: dict) -> None:
    members = tracestate.parse(case["input"])
    assert tracestate.format(tracestate.limit(members, case["max_chars"])) == case["output"]


@given(MEMBERS)
def test_what_is_formatted_is_read_back(members: tracestate.Members) -> None:
    assert tracestate.parse(tracestate.format(members)) == members


def plainly_cut(members: tracestate.Members, most: int) -> tracestate.Members:
    """The standard's sentence, one member at a time."""
    kept = list(members)
    while len(tracestate.format(tuple(kept))) > most:
        long = [at for at, (key, value) in enumerate(kept) if len(f"{key}={value}") > 128]
        del kept[long[-1] if long else -1]
    return tuple(kept)


@given(st.lists(st.sampled_from([1, 5, 30, 123, 124, 125, 126, 200]), max_size=32), st.integers(0, 2000))
def test_a_list_of_any_lengths_is_cut_as_the_plain_rule_cuts_it(lengths: list[int], most: int) -> None:
    members = tuple((f"k{at}", "v" * length) for at, length in enumerate(lengths))
    assert tracestate.limit(members, most) == plainly_cut(members, most)


@given(st.text(alphabet=st.sampled_from("aA0=,; \t\n@:mt-\u00e9\ud800\0"), max_size=60) | st.text())
def test_any_text_is_refused_by_wire_error_or_read(text: str) -> None:
    try:
        members = tracestate.parse(text)
    except WireError as exc:
        assert exc.reason.startswith("tracestate_")
        return
    assert tracestate.parse(tracestate.format(members)) == members


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_our_age_is_read_at_every_width_a_device_may_write(age_ms: int, digits: int) -> None:
    text = f"{age_ms:0{digits}x}"
    assert tracestate.age_ms(tracestate.parse(f"foo=1,mt=a:{text}")) == age_ms
