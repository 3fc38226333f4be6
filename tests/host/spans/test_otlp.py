"""OTLP bytes: attributes against the protobuf library, requests split and joined, broken spans refused one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from motetrace_host.core.errors import WireError
from motetrace_host.core.spans.attributes import encode_attributes, encode_resource
from motetrace_host.core.spans.envelope import MAX_SPANS, join, split_protobuf
from motetrace_host.core.spans.protobuf import delimited, varint
from motetrace_host.core.spans.span import AttributeValue, Span, Status
from motetrace_host.network import otlp_codec
from tests.host.spans.proto_spans import pack, proto_attributes, proto_resource, proto_span, proto_value
from tests.host.spans.span_samples import MS, START, TRACE_ID, attributes, make_rows, make_span, spans, texts


def json_request(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """The OTLP JSON form, by the library but for the ids, which OTLP writes in hex."""
    members = MessageToDict(request, use_integers_for_enums=True)
    for resource_spans, proto_resource_spans in zip(members["resourceSpans"], request.resource_spans, strict=True):
        scopes = zip(resource_spans["scopeSpans"], proto_resource_spans.scope_spans, strict=True)
        for scope_spans, proto_scope_spans in scopes:
            for span, proto in zip(scope_spans["spans"], proto_scope_spans.spans, strict=True):
                span["traceId"], span["spanId"] = proto.trace_id.hex(), proto.span_id.hex()
                if proto.parent_span_id:
                    span["parentSpanId"] = proto.parent_span_id.hex()
                for link, proto_link in zip(span.get("links", []), proto.links, strict=True):
                    link["traceId"], link["spanId"] = proto_link.trace_id.hex(), proto_link.span_id.hex()
    return members


def request_of(*span_messages: bytes) -> bytes:
    """A request with one resource and one scope around encoded spans."""
    scope_spans = b"".join(delimited(b"\x12", span) for span in span_messages)
    resource = delimited(b"\x0a", proto_resource("device").SerializeToString())
    return delimited(b"\x0a", resource + delimited(b"\x12", scope_spans))


def json_span(**changes: Any) -> dict[str, Any]:
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "parentSpanId": "",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "kind": 2,
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}],
        "status": {},
    }
    return {key: value for key, value in (span | changes).items() if value is not ...}


def json_body(*json_spans: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(json_spans)}]}]}).encode()


@given(attributes)
def test_attributes_are_encoded_as_the_protobuf_library_reads_them(given_attributes: dict[str, AttributeValue]) -> None:
    expected = ProtoSpan(attributes=proto_attributes(given_attributes))
    for _ in range(2):  # the second time they may come from the cache
        assert ProtoSpan.FromString(encode_attributes(given_attributes)) == expected


@given(texts)
def test_a_resource_is_encoded_as_the_protobuf_library_reads_it(service_name: str) -> None:
    assert Resource.FromString(encode_resource(service_name)) == proto_resource(service_name)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 256, 257, 16_384])
def test_a_text_of_any_length_is_encoded_whole(length: int) -> None:
    message = ProtoSpan.FromString(encode_attributes({"k": "\N{GREEK SMALL LETTER MU}" * length}))
    assert message == ProtoSpan(attributes=proto_attributes({"k": "\N{GREEK SMALL LETTER MU}" * length}))


@given(spans())
def test_a_span_survives_packing_sending_and_unpacking(span: Span) -> None:
    (row,) = otlp_codec.decode(join([pack(span)]), otlp_codec.PROTOBUF).rows
    assert row == pack(span)
    assert otlp_codec.unpack(row) == span


@given(st.lists(spans(), min_size=1, max_size=4))
def test_json_and_protobuf_requests_give_the_same_rows(sent: list[Span]) -> None:
    request = ExportTraceServiceRequest.FromString(join([pack(span) for span in sent]))
    body = json.dumps(json_request(request)).encode()
    from_json = otlp_codec.decode(body, otlp_codec.JSON)
    assert not from_json.rejected
    assert sorted(map(repr, map(otlp_codec.unpack, from_json.rows))) == sorted(map(repr, sent))


def test_attributes_that_python_calls_equal_stay_apart() -> None:
    values: list[AttributeValue] = [1, True, 1.0, "1", 0, False, 0.0, -0.0]
    for _ in range(2):
        for value in values:
            (pair,) = ProtoSpan.FromString(encode_attributes({"k": value})).attributes
            assert repr(proto_value(value)) == repr(pair.value)


def test_a_lone_surrogate_does_not_stop_a_span() -> None:
    message = ProtoSpan.FromString(encode_attributes({"k\udfff": "a\udc00b"}))
    assert message == ProtoSpan(attributes=proto_attributes({"k?": "a?b"}))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_otlp_cannot_hold_is_refused_with_the_range(number: int) -> None:
    with pytest.raises(ValueError, match=rf"big = {number}: -2\*\*63\.\.2\*\*63-1; send it as a string"):
        encode_attributes({"big": number})


@pytest.mark.parametrize("value", [[1], None, b"x"])
def test_an_attribute_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="expected str, bool, int or float"):
        encode_attributes({"k": value})


def test_a_request_is_grouped_by_resource_and_scope() -> None:
    rows = [*make_rows(2), *make_rows(1, service_name="function"), *make_rows(1)]
    request = ExportTraceServiceRequest.FromString(join(rows))
    counts = [sum(len(scope.spans) for scope in group.scope_spans) for group in request.resource_spans]
    assert counts == [3, 1]
    assert request.resource_spans[1].resource == proto_resource("function")
    assert request.resource_spans[0].scope_spans[0].scope.name == "motetrace"


def test_fields_we_do_not_know_are_kept_byte_for_byte() -> None:
    unknown = b"\xfa\x7f\x03abc" + b"\xf0\x7f\x07"  # field 2047 length-delimited, field 2046 varint
    data = pack(make_span()).span + unknown
    (row,) = otlp_codec.decode(request_of(data), otlp_codec.PROTOBUF).rows
    assert row.span == data


def test_a_resource_sent_in_pieces_is_one_resource() -> None:
    parts = proto_resource("device"), proto_resource("x", {"host.name": "pi"})
    pieces = b"".join(delimited(b"\x0a", part.SerializeToString()) for part in parts)
    body = delimited(b"\x0a", pieces + delimited(b"\x12", delimited(b"\x12", pack(make_span()).span)))
    (row,) = otlp_codec.decode(body, otlp_codec.PROTOBUF).rows
    assert otlp_codec.unpack(row).resource == {"service.name": "x", "host.name": "pi"}


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("trace_id", {"trace_id": b""}),
    ("trace_id", {"trace_id": b"\0" * 16}),
    ("trace_id", {"trace_id": b"\1" * 8}),
    ("span_id", {"span_id": b"\0" * 8}),
    ("span_id", {"span_id": b"\1" * 16}),
    ("parent_id", {"parent_span_id": b"\1" * 7}),
    ("parent_id", {"parent_span_id": b"\0" * 8}),
    ("start_time", {"start_time_unix_nano": 0}),
    ("start_time", {"start_time_unix_nano": 2**63}),
    ("end_time", {"end_time_unix_nano": 0}),
    ("name_too_large", {"name": "n" * 1025}),
    ("tracestate_too_large", {"trace_state": "t" * 4097}),
    ("attributes_too_large", {"attributes": proto_attributes({f"k{n}": n for n in range(257)})}),
    ("events_too_large", {"events": [ProtoSpan.Event()] * 257}),
    ("links_too_large", {"links": [ProtoSpan.Link(trace_id=b"\1" * 16, span_id=b"\1" * 8)] * 257}),
    ("link_trace_id", {"links": [ProtoSpan.Link(trace_id=b"\1", span_id=b"\1" * 8)]}),
    ("link_span_id", {"links": [ProtoSpan.Link(trace_id=b"\1" * 16)]}),
    ("span_too_large", {"attributes": proto_attributes({"k": "v" * 65_536})}),
]


@pytest.mark.parametrize(("reason", "broken"), BROKEN)
def test_a_broken_span_is_refused_alone_and_by_reason(reason: str, broken: dict[str, Any]) -> None:
    bad = proto_span(make_span())
    for name, value in broken.items():
        if isinstance(value, list):
            getattr(bad, name).clear() if name != "attributes" else bad.ClearField("attributes")
            getattr(bad, name).extend(value)
        else:
            setattr(bad, name, value)
    good = [pack(make_span()).span, pack(make_span()).span]
    decoded = otlp_codec.decode(request_of(good[0], bad.SerializeToString(), good[1]), otlp_codec.PROTOBUF)
    assert [row.span for row in decoded.rows] == good
    assert decoded.rejected == {reason: 1}
    assert f"refused 1 span ({reason} 1); first: " in decoded.summary()


def test_a_span_with_broken_text_is_refused_alone() -> None:
    decoded = otlp_codec.decode(request_of(pack(make_span()).span, b"\x2a\x02\xff\xfe"), otlp_codec.PROTOBUF)
    assert (len(decoded.rows), decoded.rejected) == (1, {"malformed": 1})


def test_spans_of_a_broken_resource_are_refused_and_the_others_kept() -> None:
    bad_resource = delimited(b"\x0a", delimited(b"\x0a", b"\xff"))
    too_large = delimited(b"\x0a", proto_resource("x" * 20_000).SerializeToString())
    scope_spans = delimited(b"\x12", delimited(b"\x12", pack(make_span()).span))
    body = delimited(b"\x0a", bad_resource + scope_spans) + delimited(b"\x0a", too_large + scope_spans)
    decoded = otlp_codec.decode(body + request_of(pack(make_span()).span), otlp_codec.PROTOBUF)
    assert len(decoded.rows) == 1
    assert decoded.rejected == {"malformed": 1, "resource_too_large": 1}


@given(st.binary(max_size=200))
def test_random_bytes_are_spans_refused_or_a_wire_error(body: bytes) -> None:
    for content_type in (otlp_codec.PROTOBUF, otlp_codec.JSON):
        try:
            otlp_codec.decode(body, content_type)
        except WireError as exc:
            assert exc.reason in ("malformed", "too_many_spans")


@given(st.data())
def test_a_damaged_request_is_spans_refused_or_a_wire_error(data: st.DataObject) -> None:
    body = bytearray(join(make_rows(3)))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        decoded = otlp_codec.decode(bytes(body[:cut]), otlp_codec.PROTOBUF)
    except WireError as exc:
        assert exc.reason == "malformed"
    else:
        for row in decoded.rows:
            otlp_codec.unpack(row)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
span_members = st.sampled_from([*json_span(), "links", "events", "flags", "traceState", "attributes", "status"])
value_shapes = json_values | st.sampled_from(
    [[{"key": 1}], [{"value": {"arrayValue": {"values": [None]}}}], [{"traceId": 7}], {"code": "x"}, {"code": 99}, "ab"]
)


@given(st.dictionaries(span_members, value_shapes, max_size=4))
def test_json_of_any_shape_is_stored_or_refused_alone(changes: dict[str, Any]) -> None:
    decoded = otlp_codec.decode(json_body(json_span(), json_span(**changes)), otlp_codec.JSON)
    assert len(decoded.rows) + decoded.rejected.total() == 2
    for row in decoded.rows:
        otlp_codec.unpack(row)


@given(json_values, st.sampled_from(["resourceSpans", "resource", "scopeSpans", "scope", "spans", "request"]))
def test_a_json_envelope_of_any_shape_is_a_wire_error_at_most(value: Any, where: str) -> None:
    scope_spans = {"scope": {"name": "s"}, "spans": [json_span()]}
    resource_spans = {"resource": {"attributes": []}, "scopeSpans": [scope_spans]}
    request = {"resourceSpans": [resource_spans], "request": 1}
    for part in (scope_spans, resource_spans, request):
        if where in part:
            part[where] = value
    try:
        otlp_codec.decode(json.dumps(value if where == "request" else request).encode(), otlp_codec.JSON)
    except WireError as exc:
        assert exc.reason == "malformed"


def test_the_json_example_of_the_otlp_repository_is_read() -> None:
    decoded = otlp_codec.decode(json_body(json_span()), otlp_codec.JSON)
    (span,) = map(otlp_codec.unpack, decoded.rows)
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert (span.parent_id, span.kind, span.end_unix_ns - span.start_unix_ns) == (None, 2, 10**9)
    assert span.attributes == {"my.span.attr": "some value"}


def test_json_takes_upper_case_hex_numbers_for_int64_and_unknown_members() -> None:
    members = json_span(traceId="5B8EFFF798038103D269B633813FC60C", startTimeUnixNano=1544712660000000000, novelty=[1])
    (span,) = map(otlp_codec.unpack, otlp_codec.decode(json_body(members), otlp_codec.JSON).rows)
    assert (span.trace_id.hex()[:4], span.start_unix_ns) == ("5b8e", 1544712660000000000)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("trace_id", {"traceId": ...}),
        ("trace_id", {"traceId": "W47/95gDgQPSabYzgT/GDA=="}),
        ("trace_id", {"traceId": "5b 8e ff f7 98 03 81 03 d2 69 b6 33 81 3f c6 0c"}),
        ("trace_id", {"traceId": 12}),
        ("span_id", {"spanId": "00"}),
        ("parent_id", {"parentSpanId": "xyz"}),
        ("malformed", {"kind": {"a": 1}}),
        ("malformed", {"name": "\ud800"}),
        ("link_trace_id", {"links": [{"spanId": "eee19b7ec3c1b174"}]}),
    ],
)
def test_a_broken_json_span_is_refused_alone_and_by_reason(reason: str, changes: dict[str, Any]) -> None:
    decoded = otlp_codec.decode(json_body(json_span(**changes), json_span()), otlp_codec.JSON)
    assert (len(decoded.rows), decoded.rejected) == (1, {reason: 1})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"resourceSpans":{}}', b"[" * 100_000, b"1" * 5000])
def test_a_body_that_is_no_json_request_is_malformed(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        otlp_codec.decode(body, otlp_codec.JSON)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize("part", [b"\x12\x00", b"\x1a\x00"])
def test_a_small_body_of_very_many_parts_is_refused_before_they_are_built(part: bytes) -> None:
    body = delimited(b"\x0a", delimited(b"\x12", part * 4_000_000))
    with pytest.raises(WireError) as caught:
        split_protobuf(body)
    assert caught.value.reason == "too_many_spans"


def test_a_request_may_hold_as_many_spans_as_promised_and_no_more() -> None:
    span = pack(make_span()).span
    assert len(otlp_codec.decode(request_of(*[span] * MAX_SPANS), otlp_codec.PROTOBUF).rows) == MAX_SPANS
    with pytest.raises(WireError, match=f"more than {MAX_SPANS} spans"):
        otlp_codec.decode(request_of(*[span] * (MAX_SPANS + 1)), otlp_codec.PROTOBUF)
    with pytest.raises(WireError, match=f"more than {MAX_SPANS} spans"):
        otlp_codec.decode(json_body(*[{}] * (MAX_SPANS + 1)), otlp_codec.JSON)


def test_maps_lists_and_bytes_in_attributes_are_shown_as_text() -> None:
    message = proto_span(make_span(attributes={}))
    nested = AnyValue()
    nested.kvlist_value.values.add(key="a", value=AnyValue(bytes_value=b"\x01\xff"))
    nested.kvlist_value.values.add(key="b").value.array_value.values.add(int_value=7)
    message.attributes.add(key="nested", value=nested)
    message.attributes.add(key="raw", value=AnyValue(bytes_value=b"\x01"))
    message.attributes.add(key="nothing")
    (row,) = otlp_codec.decode(request_of(message.SerializeToString()), otlp_codec.PROTOBUF).rows
    assert otlp_codec.unpack(row).attributes == {"nested": '{"a": "01ff", "b": [7]}', "raw": "01", "nothing": ""}


def test_numbers_of_a_later_otlp_are_read_as_unknown() -> None:
    message = proto_span(make_span())
    message.kind, message.status.code = 99, 77  # type: ignore[assignment]
    (row,) = otlp_codec.decode(request_of(message.SerializeToString()), otlp_codec.PROTOBUF).rows
    assert (row.status, otlp_codec.unpack(row).kind, otlp_codec.unpack(row).status) == (0, 0, Status.UNSET)


@pytest.mark.parametrize("content_type", [otlp_codec.PROTOBUF, otlp_codec.JSON])
def test_a_partial_success_is_read_back(content_type: str) -> None:
    assert otlp_codec.partial_success(otlp_codec.response(3, "why", content_type), content_type) == (3, "why")
    assert otlp_codec.partial_success(otlp_codec.response(0, "", content_type), content_type) == (0, "")


def test_an_answer_of_full_success_is_empty() -> None:
    assert otlp_codec.response(0, "", otlp_codec.PROTOBUF) == b""
    assert json.loads(otlp_codec.response(0, "", otlp_codec.JSON)) == {}


@given(st.binary(max_size=60), st.sampled_from([otlp_codec.PROTOBUF, otlp_codec.JSON, "text/html", ""]))
def test_any_answer_of_a_backend_can_be_read(body: bytes, content_type: str) -> None:
    rejected, _ = otlp_codec.partial_success(body, content_type)
    assert rejected >= 0


def test_a_negative_count_from_a_backend_is_none() -> None:
    reply = ExportTraceServiceResponse()
    reply.partial_success.rejected_spans = -5
    assert otlp_codec.partial_success(reply.SerializeToString(), otlp_codec.PROTOBUF)[0] == 0


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_what_the_protobuf_library_writes(number: int) -> None:
    assert b"\x18" + varint(number) == (AnyValue(int_value=number).SerializeToString())


def test_times_and_status_of_a_span_are_columns() -> None:
    sent = pack(make_span(start_unix_ns=START, end_unix_ns=START + MS, status=Status.ERROR))
    (row,) = otlp_codec.decode(request_of(sent.span), otlp_codec.PROTOBUF).rows
    assert row[:6] == (TRACE_ID, row.span_id, "device_publish", START, START + MS, 2)
