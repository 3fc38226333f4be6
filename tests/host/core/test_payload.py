"""Promises of core/wire/json_members.py."""

import json
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.wire import context
from motetrace_host.core.wire import json_members as payload_members
from motetrace_host.core.wire.json_members import MAX_PARSED_BYTES, member_seq, member_text, members, strip

TP = b"00-3f2a9c01d40000002a8eb211c80319c1-b7ad6b710000002a-03"
NAMES = ("traceparent", "seqref", "tracestate", "baggage")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """JSON objects as different encoders write them, white space included."""
    pairs = draw(st.dictionaries(st.text() | st.sampled_from((*NAMES, "seq")), JSON, max_size=5))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
    text = json.dumps(pairs, ensure_ascii=draw(st.booleans()), separators=separators)
    padding = draw(st.sampled_from(["", " ", "\n", "\t \r\n"]))
    return (padding + "{" + padding + text[1:-1] + padding + "}" + padding).encode("utf-8", "replace")


def reason_of(payload: bytes) -> str:
    with pytest.raises(WireError) as caught:
        members(payload)
    return caught.value.reason


@given(objects())
def test_our_members_are_found_as_a_plain_decoder_finds_them(payload: bytes) -> None:
    expected = json.loads(payload)
    try:
        found = members(payload)
    except WireError as exc:
        # The one difference: half a surrogate pair in escapes is no text that UTF-8 can hold.
        assert exc.reason == "json_malformed"
        assert b"\\ud" in payload
        return
    assert found is not None
    for name in NAMES:
        value = expected.get(name)
        if value is None or isinstance(value, str):
            assert member_text(payload, found, name) == value
        else:
            with pytest.raises(WireError, match="must be a JSON string"):
                member_text(payload, found, name)


@pytest.mark.parametrize(
    "payload", [b"", b" ", b"[]", b'"{"', b"21.5", b"null", b"\x00{}", b"\xef\xbb\xbf{}", b" \n[{}]"]
)
def test_what_does_not_begin_like_an_object_is_nobodys_fault(payload: bytes) -> None:
    assert members(payload) is None
    assert strip(payload) is payload


def test_every_refusal_has_its_reason() -> None:
    assert reason_of(b"{") == "json_malformed"
    assert reason_of(b'{"a":nan}') == "json_malformed"
    assert reason_of(b"{}{}") == "json_malformed"
    assert reason_of(b" {'a':1}") == "json_malformed"
    assert reason_of(b'{"a":' + b"[" * 100_000) == "json_too_deep"
    assert reason_of(b'{"a":"' + b"x" * MAX_PARSED_BYTES + b'"}') == "payload_too_large"


def test_a_payload_of_the_greatest_size_is_read() -> None:
    head, tail = b'{"seq":7,"x":"', b'"}'
    payload = head + b"x" * (MAX_PARSED_BYTES - len(head) - len(tail)) + tail
    found = members(payload)
    assert found is not None
    assert member_seq(payload, found) == 7
    assert members(b"\xff" + payload) is None  # a great binary payload is no fault


def test_deep_nesting_is_refused_and_leaves_the_stack_whole() -> None:
    before = sys.getrecursionlimit()
    for opening in (b'{"a":' * 40_000, b'{"a":' + b"[" * 200_000, b'{"traceparent":' + b'[{"a":' * 30_000):
        assert reason_of(opening) == "json_too_deep"
        assert strip(opening) is opening
    assert sys.getrecursionlimit() == before


@pytest.mark.parametrize(
    "payload",
    [
        b'{"traceparent":"a","traceparent":"b"}',
        b'{"traceparent":"a","x":{"traceparent":"b"},"traceparent":"a"}',
        b'{"traceparent":"a","tr\\u0061ceparent":"b"}',
        b'{"tr\\u0061ceparent":"a","\\u0074raceparent":"b"}',
        b'{"traceparent":5,"traceparent":"b","x":1e999}',
        b'{"traceparent":"a","traceparent":"b","x":' + b"1" * 5000 + b',"y":"\xff"}',
    ],
)
def test_a_member_that_is_there_twice_is_a_fault(payload: bytes) -> None:
    found = members(payload)
    assert found is not None
    with pytest.raises(WireError) as caught:
        member_text(payload, found, "traceparent")
    assert caught.value.reason == "traceparent_repeated"


@pytest.mark.parametrize(
    "payload",
    [
        b'{"traceparent":"a","x":{"traceparent":"b"}}',
        b'{"x":"traceparent","traceparent":"a"}',
        b'{"x":"\\"traceparent\\"","traceparent":"a"}',
        b'{"x":"\\u0041","traceparent":"a"}',
        b'{"tr\\u0061ceparent":"a"}',
    ],
)
def test_the_name_elsewhere_is_no_repetition(payload: bytes) -> None:
    found = members(payload)
    assert found is not None
    assert member_text(payload, found, "traceparent") == "a"


@pytest.mark.parametrize(("raw", "seq"), [(b"0", 0), (b"1", 1), (b"4294967295", 2**32 - 1), (b"null", None)])
def test_a_bare_seq_is_read(raw: bytes, seq: int | None) -> None:
    payload = b'{"seq":' + raw + b"}"
    found = members(payload)
    assert found is not None
    assert member_seq(payload, found) == seq


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"4294967296", "seq_range"),
        (b"-1", "seq_range"),
        (b"-0", "seq_range"),
        (b"1" * 5000, "seq_range"),
        (b"17.0", "seq_type"),
        (b"1e3", "seq_type"),
        (b"true", "seq_type"),
        (b'"17"', "seq_type"),
        (b"[17]", "seq_type"),
        (b"{}", "seq_type"),
    ],
)
def test_what_is_no_bare_seq_has_its_reason(raw: bytes, reason: str) -> None:
    payload = b'{"seq":' + raw + b"}"
    found = members(payload)
    assert found is not None
    with pytest.raises(WireError) as caught:
        member_seq(payload, found)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("payload", "stripped"),
    [
        (b'{"traceparent":"%b","temp":21.5}' % TP, b'{"temp":21.5}'),
        (b'{"traceparent":"%b"}' % TP, b"{}"),
        (b'{"traceparent":"%b" }' % TP, b"{ }"),
        (b'{"traceparent":"%b", "temp" : 21.5 }\n' % TP, b'{ "temp" : 21.5 }\n'),
        (b' { "traceparent" : "%b" , "temp":21.5}' % TP, b' { "temp":21.5}'),
        (b'{"seqref":"3f2a9c01d4-0000002a-03","temp":21.5}', b'{"temp":21.5}'),
        (b'{"traceparent":"%b","tracestate":"mt=a:1f4","baggage":"a=1","temp":21.5}' % TP, b'{"temp":21.5}'),
        (b'{"traceparent":"%b","tracestate":"mt=a:1f4"}' % TP, b"{}"),
        (b'{"traceparent":"%b", "tracestate" : "mt=a:1f4"\n,"temp":21.5}' % TP, b'{"temp":21.5}'),
        (b'{"traceparent":"%b","seq":5,"temp":21.5}' % TP, b'{"seq":5,"temp":21.5}'),
        (b'{"traceparent":"a","traceparent":"b","temp":21.5}', b'{"temp":21.5}'),
        (b'{"baggage":"a=\\"\\\\","temp":21.5}', b'{"temp":21.5}'),
        (b'{"traceparent":"broken","temp":1e999,"x":"\xff"}', b'{"temp":1e999,"x":"\xff"}'),
    ],
)
def test_our_leading_members_are_cut_out_and_nothing_else(payload: bytes, stripped: bytes) -> None:
    assert strip(payload) == stripped


@pytest.mark.parametrize(
    "payload",
    [
        b'{"temp":21.5,"traceparent":"%b"}' % TP,
        b'{"seq":5,"traceparent":"%b"}' % TP,
        b'{"traceparent":5,"temp":21.5}',
        b'{"tr\\u0061ceparent":"%b","temp":21.5}' % TP,
        b'{"traceparents":"%b"}' % TP,
        b'{"a":{"traceparent":"%b"}}' % TP,
        b'{"traceparent":"%b",temp:21.5}' % TP,
        b'{"traceparent":"%b",}' % TP,
        b'{"traceparent":"%b"' % TP,
        b'{"traceparent":"%b"}}' % TP,
        b'[{"traceparent":"%b"}]' % TP,
        b'{"traceparent":"%b","x":"' % TP + b"x" * MAX_PARSED_BYTES + b'"}',
        b"{}",
        b"",
    ],
)
def test_everything_else_is_passed_on_byte_for_byte(payload: bytes) -> None:
    assert strip(payload) is payload


@given(objects(), st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), st.text())
def test_what_a_device_puts_in_front_comes_out_and_the_rest_is_as_it_was(
    payload: bytes, names: list[str], value: str
) -> None:
    start = payload.index(b"{") + 1
    rest = payload[start:]
    empty = rest.strip()[:1] == b"}"
    front = b",".join(
        json.dumps(name).encode() + b":" + json.dumps(value.encode("utf-8", "replace").decode()).encode()
        for name in names
    )
    sent = payload[:start] + front + (b"" if empty else b",") + rest
    # What was there before may begin with our names too; then those go as well.
    try:
        readable = members(sent) is not None
    except WireError:
        readable = False
    assert strip(sent) == (strip(payload) if readable else sent)
    if readable and not rest.lstrip().startswith(tuple(b'"%b"' % name.encode() for name in NAMES)):
        assert strip(sent) == payload


@given(st.binary() | st.binary().map(lambda tail: b'{"traceparent":"' + tail) | objects().map(lambda found: found[:-1]))
@example(b'{"traceparent":"\\')
def test_any_bytes_are_stripped_to_a_part_of_themselves_and_never_raise(payload: bytes) -> None:
    assert len(strip(payload)) <= len(payload)


def test_hostile_payloads_take_time_in_proportion_to_their_size() -> None:
    quarter = MAX_PARSED_BYTES - 100
    for payload in (
        b'{"traceparent":"' + b"\\" * quarter,
        b'{"traceparent":"a",' * (quarter // 19),
        b'{"traceparent":"a"' + b" " * quarter,
        b"{" + b" " * quarter,
        b" " * quarter + b"{",
        b'{"traceparent":"a"' + b',"traceparent":"a"' * (quarter // 18) + b"}",
        b'{"x":"' + b"\\u0041" * (quarter // 6) + b'","traceparent":"a"}',
    ):
        began = time.process_time()
        strip(payload)
        try:
            found = members(payload)
            if found is not None:
                member_text(payload, found, "traceparent")
        except WireError:
            pass
        assert time.process_time() - began < 1.0  # measured: below 0.05; quadratic would take minutes


def test_a_decoder_that_disagrees_on_what_json_is_leads_to_a_fault_and_not_to_a_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    payload = b'{"traceparent":"a","traceparent":"b"}'
    found = members(payload)
    assert found is not None
    for error, reason in ((ValueError("x"), "json_malformed"), (RecursionError("x"), "json_too_deep")):

        def refuse(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(payload_members.json, "loads", refuse)
        with pytest.raises(WireError) as caught:
            member_text(payload, found, "traceparent")
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "rest", [b'"temp":nan}', b'"temp":21.5', b'"temp":{"a":[}', b'"name":"\xff', b'"x":' + b"[" * 5000]
)
def test_a_context_in_front_of_a_broken_payload_is_still_found_and_the_fault_counted(rest: bytes) -> None:
    value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = context.read(None, b'{"traceparent":"%s",%s' % (value.encode(), rest))
    assert found.origin == "traceparent"
    too_deep = b"[[" in rest  # for some Pythons, of which others read to the end and find no JSON
    assert found.faults == ("json_malformed",) or (too_deep and found.faults == ("json_too_deep",))


@pytest.mark.parametrize("payload", [b'{"temp":nan}', b"{", b'{"temp":1,"traceparent":"x"', b'{"traceparent":5,nan}'])
def test_a_broken_payload_without_a_context_in_front_has_none(payload: bytes) -> None:
    assert context.read(None, payload).origin == "none:json_malformed"
