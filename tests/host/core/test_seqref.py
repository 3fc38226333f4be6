"""Promises of core/wire/seqref.py."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import seqref
from motetrace_host.core.wire.seqref import Seqref
from tests.seqref_text import format_seqref

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "seqref.json").read_text())["cases"]
WORDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_contract_says(case: dict) -> None:
    if case["valid"]:
        ref = seqref.parse(case["input"])
        assert ref == (bytes.fromhex(case["boot_nonce"]), case["seq"], case["flags"], case["age_ms"])
        assert format_seqref(ref) == case["formatted"]
    else:
        with pytest.raises(WireError) as caught:
            seqref.parse(case["input"])
        assert caught.value.reason == case["reason"]


@given(st.binary(min_size=5, max_size=5), st.integers(1, 2**32 - 1), st.integers(0, 3), WORDS | st.none())
def test_what_is_formatted_is_read_back(nonce: bytes, seq: int, flags: int, age_ms: int | None) -> None:
    ref = Seqref(nonce, seq, flags, age_ms)
    assert seqref.parse(format_seqref(ref)) == ref


@given(st.text() | st.from_regex(r"[0-9a-fA-F_ ]{10}[-_][0-9a-f]{8}-[0-9a-f]{2}(-[0-9a-f+_ \n]{0,9})?", fullmatch=True))
def test_any_text_is_refused_by_wire_error_or_is_what_the_grammar_says(text: str) -> None:
    legal = re.fullmatch(r"[0-9a-f]{10}-(?!0{8})[0-9a-f]{8}-[0-9a-f]{2}(-[0-9a-f]{1,8})?", text)
    try:
        seqref.parse(text)
    except WireError as exc:
        assert exc.reason.startswith("seqref_")
        assert not legal
    else:
        assert legal
