"""Spans for tests: one builder with defaults, and hypothesis strategies for whatever a Span may hold."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import strategies as st

from motetrace_host.core.spans.span import Span, SpanKind, SpanLink, SpanRow, Status
from tests.host.spans.proto_spans import pack

START = 1_700_000_000_000_000_000
MS = 1_000_000
TRACE_ID = bytes.fromhex("0c5c23f1d10000000712345678abcdef")
_numbers = count(1)


def span_id() -> bytes:
    """8 bytes, another one at each call."""
    return next(_numbers).to_bytes(8, "big")


def make_span(**changes: Any) -> Span:
    """A valid span; every call gives it another span id."""
    members: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": span_id(),
        "parent_id": None,
        "name": "device_publish",
        "kind": SpanKind.PRODUCER,
        "start_unix_ns": START,
        "end_unix_ns": START + 5 * MS,
        "attributes": {"device.id": "sensor-0042", "mqtt.qos": 1},
        "resource": {"service.name": changes.pop("service_name", "device")},
    }
    return Span(**(members | changes))


def make_rows(number: int, **changes: Any) -> list[SpanRow]:
    """Rows of valid spans, each with another span id."""
    return [pack(make_span(**changes)) for _ in range(number)]


def ids(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length).filter(any)


texts = st.text(st.characters(codec="utf-8"), max_size=40)
times = st.integers(1, 2**63 - 1)
attribute_values = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
attributes = st.dictionaries(texts, attribute_values, max_size=8)
resources = st.dictionaries(texts.filter(lambda key: key != "service.name"), attribute_values, max_size=4)
links = st.builds(SpanLink, ids(16), ids(8), attributes)


@st.composite
def spans(draw: st.DrawFn, trace_id: st.SearchStrategy[bytes] | None = None) -> Span:
    status = draw(st.sampled_from(Status))
    return Span(
        trace_id=draw(ids(16) if trace_id is None else trace_id),
        span_id=draw(ids(8)),
        parent_id=draw(st.none() | ids(8)),
        name=draw(texts),
        kind=draw(st.sampled_from(SpanKind)),
        start_unix_ns=draw(times),
        end_unix_ns=draw(times),
        attributes=draw(attributes),
        resource={**draw(resources), "service.name": draw(texts)},
        tracestate=draw(texts),
        flags=draw(st.integers(0, 2**32 - 1)),
        status=status,
        status_message=draw(texts),
        links=tuple(draw(st.lists(links, max_size=3))),
    )
