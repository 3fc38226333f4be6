"""Spans are made of stored messages when they are sent: each once, in order, whatever the size of a request."""

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.shim.span_outbox import SpanOutbox
from motetrace_host.storage import database
from motetrace_host.storage.span_store import SpanStore
from tests.host.app.conftest import Bench
from tests.host.spans.span_samples import make_rows

MakeBench = Callable[..., Bench]


def send(bench: Bench, seqs: range, flags: str = "03") -> None:
    for seq in seqs:
        bench.send(1, ("seqref", f"0a01020304-{seq:08x}-{flags}"))


def open_outbox(bench: Bench) -> SpanOutbox:
    return SpanOutbox(database.connect(bench.path), "backend", ShimIdentity("broker:1883", "shim"))


def sent(outbox: SpanOutbox, max_spans: int) -> list[list[tuple[str, int]]]:
    """Drain an outbox; for each request the spans' names and seqs."""
    requests = []
    while True:
        count, upto, body = outbox.batch(max_spans)
        if not count:
            return requests
        parsed = ExportTraceServiceRequest.FromString(body)
        spans = [
            (span.name, next((each.value.int_value for each in span.attributes if each.key == "device.seq"), 0))
            for resource in parsed.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert len(spans) == count
        requests.append(spans)
        outbox.settle(upto, sent=count, refused=0)


@pytest.mark.parametrize("max_spans", [1, 2, 3, 7, 100])
def test_every_message_is_sent_once_in_order_however_the_requests_are_cut(
    make_bench: MakeBench, max_spans: int
) -> None:
    for first in (1, 6, 11):
        bench = make_bench()
        send(bench, range(first, first + 5))
        assert bench.run()
    outbox = open_outbox(bench)
    requests = sent(outbox, max_spans)
    assert [seq for spans in requests for name, seq in spans if name == "device_publish"] == list(range(1, 16))
    assert [seq for spans in requests for name, seq in spans if name == "broker_forward"] == list(range(1, 16))
    assert max(map(len, requests)) <= max(max_spans, 2)
    outbox.close()


def test_an_outbox_opened_anew_goes_on_where_the_last_one_settled(make_bench: MakeBench) -> None:
    bench = make_bench()
    send(bench, range(1, 6))
    assert bench.run()
    outbox = open_outbox(bench)
    count, upto, _ = outbox.batch(4)
    outbox.settle(upto, sent=count, refused=0)
    outbox.batch(4)  # sent, perhaps, and never settled: killed
    outbox.close()
    again = open_outbox(bench)
    assert [seq for spans in sent(again, 4) for name, seq in spans if name == "device_publish"] == [3, 4, 5]
    again.close()


@pytest.mark.parametrize("max_spans", [2, 6, 14, 30])
def test_a_request_of_several_blocks_that_nobody_took_is_made_again_with_all_of_them(
    make_bench: MakeBench, max_spans: int
) -> None:
    for first in (1, 6, 11):
        bench = make_bench()
        send(bench, range(first, first + 5))
        assert bench.run()
    outbox = open_outbox(bench)
    refused = outbox.batch(max_spans)
    assert outbox.batch(max_spans) == refused
    requests = sent(outbox, max_spans)
    assert [seq for spans in requests for name, seq in spans if name == "device_publish"] == list(range(1, 16))
    outbox.close()


def test_messages_that_are_not_sampled_are_passed_over_and_what_the_stages_sent_follows(make_bench: MakeBench) -> None:
    bench = make_bench()
    send(bench, range(1, 4), flags="02")
    assert bench.run()
    with database.transaction(bench.connection):
        SpanStore(bench.connection).insert(make_rows(3))
    outbox = open_outbox(bench)
    assert [len(spans) for spans in sent(outbox, 2)] == [2, 1]
    assert outbox.batch(10)[0] == 0
    outbox.close()


def test_a_birth_that_comes_later_is_on_the_spans_made_after_it(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench()
    send(bench, range(1, 3))
    assert bench.run()
    outbox = open_outbox(bench)
    count, upto, body = outbox.batch(2)
    assert b"device.firmware" not in body
    outbox.settle(upto, sent=count, refused=0)
    later = make_bench()
    later.send(1, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020304","fw":"1.4.2"}')
    assert later.run()
    outbox.births_changed()
    assert b"device.firmware" in outbox.batch(2)[2]
    outbox.close()
