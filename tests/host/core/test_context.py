"""Promises of core/wire/context.py."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.wire import binary_trailer, context
from motetrace_host.core.wire.context import Context

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "context.json").read_text())["cases"]
TP = "00-3f2a9c01d40000002a8eb211c80319c1-b7ad6b710000002a-03"
SEQREF = "3f2a9c01d4-0000002a-03"


def expected(expect: dict) -> Context:
    def binary(name: str) -> bytes | None:
        return bytes.fromhex(expect[name]) if expect.get(name) is not None else None

    return Context(
        origin=expect["origin"],
        trace_id=binary("trace_id"),
        parent_id=binary("parent_id"),
        flags=expect.get("flags", 3),
        boot_nonce=binary("boot_nonce"),
        seq=expect.get("seq"),
        age_ms=expect.get("age_ms"),
        tracestate=expect.get("tracestate", ""),
        baggage=expect.get("baggage", ""),
        carrier=expect.get("carrier", "none"),
        faults=tuple(expect.get("faults", ())),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_vector_is_read_as_the_contract_says(case: dict) -> None:
    payload = bytes.fromhex(case["payload_hex"]) if "payload_hex" in case else case["payload"].encode()
    pairs = [(name, value) for name, value in case["user_properties"]]
    assert context.read(pairs, payload) == expected(case["expect"])


def test_no_user_properties_are_like_an_empty_list() -> None:
    assert context.read(None, b'{"seq":1}') == context.read([], b'{"seq":1}')


def test_only_our_own_ids_are_structured() -> None:
    assert context.read([("traceparent", TP)], b"").structured
    assert not context.read([("traceparent", TP[:-1] + "1")], b"").structured
    assert not context.read([("seqref", SEQREF)], b"").structured
    assert not context.read(None, b'{"seq":1}').structured


NAMES = st.sampled_from(["traceparent", "seqref", "tracestate", "baggage", "seq", "Traceparent", ""])
VALUES = st.text() | st.sampled_from(
    [TP, TP + "\n", SEQREF, SEQREF + "-1f4", "mt=a:1f4", "mt=a:x", "a=1", "\ud800", "x" * 9000, "0", "", "\0"]
)
JSON_VALUES = VALUES | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.none(), max_size=2)
PAYLOADS = (
    st.binary()
    | st.dictionaries(NAMES | st.text(), JSON_VALUES).map(lambda found: json.dumps(found).encode())
    | st.lists(st.tuples(NAMES, JSON_VALUES)).map(
        lambda pairs: b"{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs).encode() + b"}"
    )
    | st.builds(
        lambda found, cut: json.dumps(found).encode()[:cut], st.dictionaries(NAMES, JSON_VALUES), st.integers(0, 99)
    )
)


@given(st.lists(st.tuples(NAMES | st.text(), VALUES), max_size=6), PAYLOADS)
def test_nothing_a_device_sends_makes_it_raise_and_what_comes_out_is_whole(
    pairs: list[tuple[str, str]], payload: bytes
) -> None:
    found = context.read(pairs, payload)
    assert found.origin in ("traceparent", "seqref", "seq") or found.origin.startswith("none:")
    assert (found.trace_id is not None) == (found.parent_id is not None) == (found.origin == "traceparent")
    assert (found.carrier == "none") == found.origin.startswith("none:")
    assert 0 <= found.flags <= 3
    if found.origin == "traceparent":
        assert len(found.trace_id) == 16 and any(found.trace_id)
        assert len(found.parent_id) == 8 and any(found.parent_id)
        assert (found.boot_nonce is None) == (found.seq is None)
    if found.origin == "seqref":
        assert len(found.boot_nonce) == 5 and found.seq >= 1
    if found.seq is not None:
        assert 0 <= found.seq < 2**32
    if found.age_ms is not None:
        assert 0 <= found.age_ms < 2**32
    assert len(found.tracestate) <= 512 and found.tracestate.isascii()
    assert len(found.baggage) <= 8192 and found.baggage.isascii() and found.baggage.replace("\t", " ").isprintable()
    # Reasons become counters' names: few, and never made of what was sent.
    assert all(re.fullmatch(r"[a-z_]{1,40}", fault) for fault in found.faults)
    assert len(found.faults) <= 8


def test_hostile_messages_take_time_in_proportion_to_their_size() -> None:
    for pairs, payload in (
        ([("tracestate", "a=1," * 16_000)] * 4 + [("traceparent", TP)], b""),
        ([("baggage", "x" * 65_535)] * 16, b"{" * 250_000),
        ([("traceparent", TP)] * 20_000, b'{"seq":[' + b"[" * 250_000),
        ([(str(n), "") for n in range(20_000)], b'{"seqref":"' + b"\\u0041" * 40_000 + b'"}'),
        ([("traceparent", " " * 65_000 + TP)], b'{"traceparent":"a","traceparent":"a"}' + b" " * 250_000),
    ):
        began = time.process_time()
        context.read(pairs, payload)
        assert time.process_time() - began < 1.0  # measured: below 0.02; quadratic would take minutes


TRAILER_SEQREF = bytes.fromhex("3f2a9c01d40000002a03")


def trailed(binary: bytes) -> bytes:
    return b"\x01\x02" + binary + bytes([binary_trailer.check(binary), len(binary)]) + b"\xf5\x4d"


def test_a_trailer_is_read_where_the_topic_may_have_one_and_nowhere_else() -> None:
    payload = trailed(TRAILER_SEQREF)
    found = context.read(None, payload, may_have_trailer=True)
    assert (found.origin, found.carrier, found.seq) == ("seqref", "trailer", 42)
    assert found.boot_nonce is not None
    assert found.boot_nonce.hex() == "3f2a9c01d4"
    unconfigured = context.read(None, payload)
    assert (unconfigured.origin, unconfigured.faults) == ("none:trailer_unconfigured", ("trailer_unconfigured",))
    found = context.read(None, b'{"temp":21.5,"seq":7}' + trailed(TRAILER_SEQREF)[2:])
    assert (found.origin, found.seq, found.faults) == ("seq", 7, ("trailer_unconfigured",))
    assert context.read(None, payload[:-1]).origin == "none:absent"


def test_a_traceparent_in_a_trailer_is_as_good_as_one_in_text() -> None:
    binary = bytes.fromhex("0000" + TP[3:35] + "01" + TP[36:52] + "02" + TP[53:])
    found = context.read(None, trailed(binary), may_have_trailer=True)
    text = context.read([("traceparent", TP)], b"")
    assert found == text._replace(carrier="trailer")


def test_a_user_property_goes_before_a_trailer_and_a_broken_trailer_is_counted() -> None:
    payload = trailed(TRAILER_SEQREF)
    assert context.read([("traceparent", TP)], payload, may_have_trailer=True).carrier == "user_property"
    broken = payload[:2] + b"\xff" + payload[3:]
    found = context.read(None, broken, may_have_trailer=True)
    assert (found.origin, found.faults) == ("none:trailer_check", ("trailer_check",))


@given(st.binary(max_size=80), st.booleans())
def test_nothing_behind_a_payload_makes_it_raise(payload: bytes, magic: bool) -> None:
    context.read(None, payload + (b"\xf5\x4d" if magic else b""), may_have_trailer=True)


def test_a_tab_in_what_is_passed_on_becomes_a_space_because_a_broker_would_end_the_connection() -> None:
    pairs = [("traceparent", TP), ("tracestate", "foo=1\t,bar=2"), ("baggage", "a=1\t, b=2")]
    found = context.read(pairs, b"")
    assert (found.tracestate, found.baggage) == ("foo=1 ,bar=2", "a=1 , b=2")
