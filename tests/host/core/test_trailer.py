"""Promises of core/wire/binary_trailer.py."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import binary_trailer, traceparent
from motetrace_host.core.wire.seqref import Seqref
from motetrace_host.core.wire.traceparent import TraceParent
from tests.seqref_text import format_seqref

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "trailer.json").read_text())
CASES = VECTORS["cases"]
NOT_ZERO = [st.binary(min_size=n, max_size=n).filter(any) for n in (16, 8)]
FLAGS = st.integers(0, 3)
CONTEXTS = st.builds(TraceParent, *NOT_ZERO, FLAGS) | st.builds(
    Seqref, st.binary(min_size=5, max_size=5), st.integers(1, 2**32 - 1), FLAGS, st.none()
)


def written(context: TraceParent | Seqref) -> bytes:
    """A trailer, written the obvious way."""
    if isinstance(context, TraceParent):
        data = b"\0\0" + context.trace_id + b"\1" + context.parent_id + b"\2" + bytes((context.flags,))
    else:
        data = context.boot_nonce + context.seq.to_bytes(4, "big") + bytes((context.flags,))
    return data + bytes((by_long_division(data), len(data))) + b"\xf5\x4d"


def by_long_division(data: bytes) -> int:
    value = int.from_bytes(data, "big") << 8
    for bit in range(value.bit_length() - 1, 7, -1):
        if value >> bit & 1:
            value ^= 0x107 << (bit - 8)
    return value


@pytest.mark.parametrize("case", VECTORS["check"], ids=[case["over"] or "nothing" for case in VECTORS["check"]])
def test_the_check_is_the_one_of_the_vectors(case: dict) -> None:
    assert binary_trailer.check(bytes.fromhex(case["over"])) == int(case["check"], 16)


@given(st.binary())
def test_the_check_is_the_remainder_of_long_division(data: bytes) -> None:
    assert binary_trailer.check(data) == by_long_division(data)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_contract_says(case: dict) -> None:
    payload = bytes.fromhex(case["payload"])
    assert binary_trailer.strip(payload) == bytes.fromhex(case["stripped"])
    if "reason" in case:
        with pytest.raises(WireError) as caught:
            binary_trailer.parse(payload)
        assert caught.value.reason == case["reason"]
        return
    found = binary_trailer.parse(payload)
    if case["context"] is None:
        assert found is None
        return
    assert found is not None
    assert found.size == len(payload) - len(bytes.fromhex(case["stripped"]))
    if isinstance(found.context, TraceParent):
        assert traceparent.format(found.context) == case["context"]
    else:
        assert format_seqref(found.context) == case["context"]


@given(st.binary(), CONTEXTS)
def test_what_is_put_behind_any_payload_is_read_and_taken_off_again(
    payload: bytes, context: TraceParent | Seqref
) -> None:
    whole = payload + written(context)
    found = binary_trailer.parse(whole)
    assert found is not None
    assert found.context == context
    assert binary_trailer.strip(whole) == payload


@given(st.binary(), CONTEXTS, st.integers(0, 8 * 14 - 1))
def test_one_turned_bit_never_gives_another_context(payload: bytes, context: TraceParent | Seqref, bit: int) -> None:
    whole = bytearray(payload + written(context))
    whole[-1 - bit // 8] ^= 1 << bit % 8
    try:
        found = binary_trailer.parse(bytes(whole))
    except WireError as exc:
        assert exc.reason in ("trailer_length", "trailer_check")
    else:
        assert found is None


ENDS = st.builds(
    lambda body, length: body + bytes((length,)) + b"\xf5\x4d", st.binary(max_size=60), st.integers(0, 255)
)
CHECKED = st.builds(
    lambda data: data + bytes((by_long_division(data), len(data))) + b"\xf5\x4d",
    st.binary(min_size=29, max_size=29) | st.binary(min_size=10, max_size=10),
)


@given(st.binary(max_size=60) | ENDS | CHECKED)
def test_any_bytes_are_refused_by_wire_error_or_passed_on_or_are_a_trailer(payload: bytes) -> None:
    stripped = binary_trailer.strip(payload)
    assert payload.startswith(stripped)
    try:
        found = binary_trailer.parse(payload)
    except WireError as exc:
        assert exc.reason.startswith("trailer_")
        assert len(str(exc)) < 200
        assert stripped == payload
    else:
        if found is None:
            assert stripped == payload
        else:
            assert len(payload) - len(stripped) == found.size in (14, 33)
            assert found.context.flags <= 3


@given(st.text(min_size=1))
def test_no_text_ends_in_a_trailer(text: str) -> None:
    assert binary_trailer.parse(text.encode("utf-8", "surrogatepass")) is None
