"""The OTLP receiver over real HTTP: what it accepts is on disk, what it refuses is counted, nothing kills it."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from google.protobuf.json_format import Parse
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from motetrace_host.core.errors import OperatorError
from motetrace_host.core.spans.envelope import MAX_SPANS, join
from motetrace_host.core.spans.span import SpanKind, Status
from motetrace_host.network import otlp_codec, otlp_receiver
from motetrace_host.network.otlp_receiver import (
    MAX_BODY_BYTES,
    MAX_IN_FLIGHT,
    MAX_INFLATED_BYTES,
    HttpReply,
    OtlpReceiver,
)
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.storage.span_store import SpanStore
from tests.host.spans.conftest import Open
from tests.host.spans.proto_spans import pack
from tests.host.spans.span_samples import TRACE_ID, make_rows, make_span
from tests.waiting import until

Post = Callable[..., urllib3.BaseHTTPResponse]


class Running:
    """A receiver with the connection that its intake uses and another one to look."""

    def __init__(self, open_database: Open) -> None:
        self.intake_connection = open_database()
        self.connection = open_database()
        self.store = SpanStore(self.connection)
        self.receiver = OtlpReceiver(SpanIntake(self.intake_connection), port=0)
        self.pool = urllib3.PoolManager(retries=False, timeout=60)

    def post(self, body: bytes, content_type: str = otlp_codec.PROTOBUF, **headers: str) -> urllib3.BaseHTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.receiver.url}/v1/traces"
        return self.pool.request("POST", url, body=body, headers={"Content-Type": content_type, **named})


@pytest.fixture
def running(open_database: Open) -> Iterator[Running]:
    running = Running(open_database)
    running.receiver.start()
    yield running
    running.receiver.stop()
    running.pool.clear()


def told(answer: urllib3.BaseHTTPResponse) -> RpcStatus:
    """The google.rpc.Status of an error answer, in its own content type."""
    status = RpcStatus()
    if answer.headers["Content-Type"] == otlp_codec.JSON:
        Parse(answer.data, status)
    else:
        assert answer.headers["Content-Type"] == otlp_codec.PROTOBUF
        status.ParseFromString(answer.data)
    return status


def json_body() -> bytes:
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "n", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def test_spans_are_on_disk_when_the_sender_gets_its_200(running: Running) -> None:
    rows = make_rows(5)
    answer = running.post(join(rows))
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (200, b"", otlp_codec.PROTOBUF)
    assert [row._replace(id=0) for row in running.store.trace(TRACE_ID)] == rows
    assert running.store.counters() == {"otlp.spans_stored": 5}


def test_a_repeated_request_stores_nothing_twice_and_is_counted(running: Running) -> None:
    body = join(make_rows(3))
    assert [running.post(body).status for _ in range(3)] == [200] * 3
    assert len(running.store.trace(TRACE_ID)) == 3
    assert running.store.counters() == {"otlp.spans_stored": 3, "otlp.spans_duplicate": 6}


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_answered_in_json(running: Running, content_type: str) -> None:
    answer = running.post(json_body(), content_type)
    assert (answer.status, json.loads(answer.data), answer.headers["Content-Type"]) == (200, {}, otlp_codec.JSON)
    assert len(running.store.trace(b"\xab" * 16)) == 1


@pytest.mark.parametrize("members", [1, 3])
def test_gzip_bodies_of_one_or_more_members_are_read(running: Running, members: int) -> None:
    body = join(make_rows(50))
    cuts = [len(body) * part // members for part in range(members + 1)]
    packed = b"".join(gzip.compress(body[start:end]) for start, end in itertools.pairwise(cuts))
    assert running.post(packed, Content_Encoding="gzip").status == 200
    assert len(running.store.trace(TRACE_ID)) == 50


def test_an_empty_request_is_a_success(running: Running) -> None:
    assert running.post(b"").status == 200
    assert running.store.counters() == {}


def test_good_spans_beside_broken_ones_are_stored_and_the_broken_ones_reported(running: Running) -> None:
    rows = make_rows(4)
    rows[1] = rows[1]._replace(span=b"\x0a\x10" + bytes(16))
    rows[2] = rows[2]._replace(span=b"\x0a\x01")
    answer = running.post(join(rows))
    rejected, message = otlp_codec.partial_success(answer.data, otlp_codec.PROTOBUF)
    assert (answer.status, rejected) == (200, 2)
    assert message.startswith("refused 2 spans (malformed 1, trace_id 1); first: trace_id 0000")
    assert len(running.store.trace(TRACE_ID)) == 2
    assert running.store.counters() == {
        "otlp.spans_refused.malformed": 1,
        "otlp.spans_refused.trace_id": 1,
        "otlp.spans_stored": 2,
    }


@pytest.mark.parametrize(
    ("status", "code", "reason", "body", "headers"),
    [
        (400, 3, "malformed", b"\x0a\xff", {}),
        (400, 3, "malformed", b"{", {"content_type": otlp_codec.JSON}),
        (400, 3, "compression", b"not gzip", {"Content_Encoding": "gzip"}),
        (400, 3, "compression", gzip.compress(b"x" * 1000, mtime=0)[:-9], {"Content_Encoding": "gzip"}),
        (400, 3, "compression", gzip.compress(b"", mtime=0) + b"rubbish", {"Content_Encoding": "gzip"}),
        (413, 8, "body_too_large", b"x" * (MAX_BODY_BYTES + 1), {}),
        (413, 8, "body_too_large", gzip.compress(bytes(MAX_INFLATED_BYTES + 1), mtime=0), {"Content_Encoding": "gzip"}),
        (413, 8, "too_many_spans", b"\x0a\x00" * (6 * MAX_SPANS), {}),
        (415, 3, "content_type", b"", {"content_type": "text/plain"}),
        (415, 3, "content_type", b"", {"content_type": ""}),
        (415, 3, "content_encoding", b"", {"Content_Encoding": "br"}),
    ],
    ids=[
        "broken protobuf",
        "broken JSON",
        "not gzip",
        "gzip cut short",
        "rubbish after gzip",
        "body over the limit",
        "body over the limit when decompressed",
        "too many parts",
        "text",
        "no content type",
        "brotli",
    ],
)
def test_a_refused_request_says_why_in_the_senders_content_type_and_is_counted(
    running: Running, status: int, code: int, reason: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = running.post(body, **headers)
    assert (answer.status, told(answer).code) == (status, code)
    assert told(answer).message
    expected = headers.get("content_type", otlp_codec.PROTOBUF)
    assert answer.headers["Content-Type"] == (expected if "application/" in expected else otlp_codec.JSON)
    assert running.store.counters() == {f"otlp.requests_refused.{reason}": 1}


def test_a_body_at_the_limit_is_read(running: Running) -> None:
    rows = [pack(make_span(attributes={"fill": "x" * 60_000})) for _ in range(69)]
    body = join(rows)
    assert MAX_BODY_BYTES * 0.95 < len(body) < MAX_BODY_BYTES
    assert running.post(body).status == 200
    assert len(running.store.trace(TRACE_ID)) == 69


def test_an_endless_body_is_cut_off(running: Running) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
        running.pool.request(
            "POST",
            f"{running.receiver.url}/v1/traces",
            body=endless(),  # type: ignore[arg-type]
            headers={"Content-Type": otlp_codec.PROTOBUF},
        )
    assert running.post(join(make_rows(1))).status == 200


def test_a_gzip_bomb_costs_neither_memory_nor_the_receiver(running: Running) -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    assert running.post(gzip.compress(bomb), Content_Encoding="gzip").status == 400
    assert running.post(bomb, Content_Encoding="gzip").status == 413


def test_a_full_disk_is_a_503_and_the_retry_succeeds_once_there_is_space(running: Running) -> None:
    rows = [pack(make_span(attributes={"fill": "x" * 50_000})) for _ in range(10)]
    (pages,) = running.intake_connection.execute("PRAGMA page_count").fetchone()
    running.intake_connection.execute(f"PRAGMA max_page_count={pages}")
    answer = running.post(join(rows))
    assert (answer.status, told(answer).code, answer.headers["Retry-After"]) == (503, 14, "5")
    assert "disk is full" in told(answer).message
    assert running.store.trace(TRACE_ID) == []
    running.intake_connection.execute("PRAGMA max_page_count=1000000")
    assert running.post(join(rows)).status == 200
    assert len(running.store.trace(TRACE_ID)) == 10


def test_a_locked_database_is_a_503(running: Running) -> None:
    running.intake_connection.execute("PRAGMA busy_timeout=1")
    running.connection.execute("BEGIN IMMEDIATE")
    answer = running.post(join(make_rows(1)))
    running.connection.execute("ROLLBACK")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert running.post(join(make_rows(1))).status == 200


def test_the_front_page_says_what_this_is(running: Running) -> None:
    answer = running.pool.request("GET", running.receiver.url)
    assert (answer.status, answer.data[:40]) == (200, b"motetrace: OTLP/HTTP trace receiver. POS")
    assert running.pool.request("GET", f"{running.receiver.url}/v1/traces").status == 405
    assert running.pool.request("POST", f"{running.receiver.url}/v1/metrics").status == 404


@pytest.mark.parametrize("compression", Compression)
def test_the_real_sdk_exporter_is_understood(running: Running, compression: Compression) -> None:
    exporter = OTLPSpanExporter(f"{running.receiver.url}/v1/traces", compression=compression)
    provider = TracerProvider(resource=Resource.create({"service.name": "rule-engine", "host.name": "pi"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("stages", "1.0", attributes={"a": 1})
    with tracer.start_as_current_span("rule_evaluate", kind=trace.SpanKind.CONSUMER) as parent:
        parent.set_attributes({"rule.matched": True, "n": -5, "f": 1.5, "list": ["a", "b"]})
        with tracer.start_as_current_span("db_write", links=[trace.Link(parent.get_span_context())]) as child:
            child.set_status(trace.StatusCode.ERROR, "type conflict")
    provider.shutdown()
    context = parent.get_span_context()
    spans = {
        span.name: span for span in map(otlp_codec.unpack, running.store.trace(context.trace_id.to_bytes(16, "big")))
    }
    rule, write = spans["rule_evaluate"], spans["db_write"]
    assert rule.span_id == write.parent_id == write.links[0].span_id == context.span_id.to_bytes(8, "big")
    assert (rule.kind, rule.parent_id, rule.service_name) == (SpanKind.CONSUMER, None, "rule-engine")
    assert rule.attributes == {"rule.matched": True, "n": -5, "f": 1.5, "list": '["a", "b"]'}
    assert rule.resource["host.name"] == "pi"
    assert (write.status, write.status_message) == (Status.ERROR, "type conflict")
    assert rule.start_unix_ns <= write.start_unix_ns <= write.end_unix_ns <= rule.end_unix_ns


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from([otlp_codec.PROTOBUF, otlp_codec.JSON, "text/html"]),
    encoding=st.sampled_from(["gzip", "identity", "zip"]),
)
def test_random_bytes_never_cause_a_5xx(running: Running, body: bytes, content_type: str, encoding: str) -> None:
    assert running.post(body, content_type, Content_Encoding=encoding).status in (200, 400, 415)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_requests_never_cause_a_5xx(running: Running, data: st.DataObject) -> None:
    body = bytearray(join(make_rows(2)) if data.draw(st.booleans(), "protobuf") else json_body())
    content_type = otlp_codec.JSON if body[:1] == b"{" else otlp_codec.PROTOBUF
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert running.post(bytes(body), content_type).status in (200, 400)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_bytes_that_are_no_http_do_not_kill_it(running: Running, junk: bytes) -> None:
    with socket.create_connection((running.receiver.host, running.receiver.port)) as connection:
        connection.sendall(junk)
    assert running.pool.request("GET", running.receiver.url).status == 200


def test_a_sender_that_hangs_up_half_way_leaves_nothing_behind(running: Running) -> None:
    for _ in range(2 * MAX_IN_FLIGHT):
        with socket.create_connection((running.receiver.host, running.receiver.port)) as connection:
            connection.sendall(HALF_BODY)
    body = join(make_rows(1))
    # The hang-ups may still be in hand: a 503 until they are noticed is the promise.
    statuses = itertools.takewhile(lambda status: status != 200, (running.post(body).status for _ in range(1000)))
    assert set(statuses) <= {503}
    assert running.store.counters()["otlp.spans_stored"] == 1


def test_a_body_that_never_ends_in_time_gives_its_place_back() -> None:
    receiver = OtlpReceiver(SlowIntake(), port=0, body_seconds=0.05)
    receiver.start()
    with socket.create_connection((receiver.host, receiver.port), timeout=60) as connection:
        connection.sendall(HALF_BODY)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    receiver.stop()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"took over 0.05 s" in answer
    assert receiver._in_flight == 0


HALF_HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-"
HALF_BODY = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UNREAD_BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


def until_closed(connection: socket.socket) -> bytes:
    """What still comes before the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(4096):
            received += more
    return received


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", 0),
        (b"P", 0),
        (HALF_HEAD, 0),
        (WHOLE, 1),
        (WHOLE + HALF_HEAD, 1),
        (WHOLE + WHOLE + b"G", 2),
        (UNREAD_BODY, 1),
    ],
    ids=["nothing", "one byte", "half a head", "idle", "half a second head", "pipelined", "a body nobody reads"],
)
def test_connections_that_never_finish_a_head_do_not_keep_their_places(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, answers: int
) -> None:
    monkeypatch.setattr(otlp_receiver, "_MAX_CONNECTIONS", 16)
    receiver = OtlpReceiver(SlowIntake(), port=0, head_seconds=0.3)
    receiver.start()
    with contextlib.ExitStack() as stack:
        idle: list[socket.socket] = []
        for _ in range(15):
            idle.append(stack.enter_context(socket.create_connection((receiver.host, receiver.port), timeout=60)))
            idle[-1].sendall(sent)
        assert [until_closed(connection).count(b"HTTP/1.1 ") for connection in idle] == [answers] * 15
        assert urllib3.request("GET", receiver.url, retries=False).status == 200
    receiver.stop()


def test_every_place_taken_by_half_heads_is_a_503_only_until_they_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_receiver, "_MAX_CONNECTIONS", 16)
    receiver = OtlpReceiver(SlowIntake(), port=0, head_seconds=2)
    receiver.start()
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            connection = stack.enter_context(socket.create_connection((receiver.host, receiver.port), timeout=60))
            connection.sendall(HALF_HEAD)
        assert urllib3.request("GET", receiver.url, retries=False).status == 503
        until_closed(connection)
        assert urllib3.request("GET", receiver.url, retries=False).status == 200
    receiver.stop()


def test_a_request_in_hand_is_not_bound_by_the_limit_for_heads() -> None:
    intake, answers = SlowIntake(), list[tuple[int, bytes]]()
    receiver = OtlpReceiver(intake, port=0, head_seconds=0.2)
    receiver.start()
    sender = threading.Thread(target=post_to, args=(receiver, b"slow", answers))
    sender.start()
    assert intake.entered.acquire(timeout=60)
    with socket.create_connection((receiver.host, receiver.port), timeout=60) as later:
        assert until_closed(later) == b""  # it came after the request's head, so that one's limit is over too
    intake.go.set()
    sender.join()
    receiver.stop()
    assert answers == [(200, b"slow")]


def wait_for_body(receiver: OtlpReceiver) -> None:
    until(lambda: receiver._reading, "a body is being read")


def test_a_stop_refuses_a_half_sent_body_and_does_not_wait_for_it(running: Running) -> None:
    receiver = running.receiver
    with socket.create_connection((receiver.host, receiver.port), timeout=60) as connection:
        connection.sendall(HALF_BODY)
        wait_for_body(receiver)
        receiver.stop()  # the body never ends: waiting for it would be for ever
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer.lower()
    assert running.store.counters() == {"otlp.requests_refused.stopping": 1}


def test_a_body_that_is_complete_soon_after_the_stop_is_still_stored(running: Running) -> None:
    receiver, body = running.receiver, json_body()
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection((receiver.host, receiver.port), timeout=60) as connection:
        connection.sendall(head % len(body) + body[:9])
        wait_for_body(receiver)
        stopper = threading.Thread(target=receiver.stop)
        stopper.start()
        connection.sendall(body[9:])
        answer = until_closed(connection)
        stopper.join()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(running.store.trace(b"\xab" * 16)) == 1


STOP_WITH_EVERYTHING_STUCK = """
import socket, sys, threading
from motetrace_host.shim import logging
from motetrace_host.network.otlp_receiver import HttpReply, OtlpReceiver

entered, go = threading.Event(), threading.Event()

class StuckIntake:
    def accept(self, body, content_type):
        entered.set()
        go.wait(20)
        return HttpReply(200, b"")
    def refuse(self, status, reason, message, content_type):
        return HttpReply(status, b"")
    def close(self):
        pass

logging.configure("info", "json")
receiver = OtlpReceiver(StuckIntake(), port=0)
receiver._server.config.timeout_graceful_shutdown = 0.2
receiver.start()
address = receiver.host, receiver.port
junk, half, whole = (socket.create_connection(address, timeout=60) for _ in range(3))
junk.sendall(b"no http\\r\\n\\r\\n")
junk.recv(1)
head = b"POST /v1/traces HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\nContent-Length: 2\\r\\n\\r\\n{"
whole.sendall(head + b"}")
assert entered.wait(20)
half.sendall(head)
stopper = threading.Thread(target=receiver.stop)
stopper.start()
receiver._thread.join(10)
go.set()
stopper.join()
"""


def test_what_the_http_server_has_to_say_is_json_in_the_log_and_never_a_raw_traceback() -> None:
    run = subprocess.run(
        [sys.executable, "-c", STOP_WITH_EVERYTHING_STUCK], capture_output=True, text=True, timeout=110, check=True
    )
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert {line["event"] for line in lines} == {"uvicorn.error"}
    assert "Invalid HTTP request received." in {line["reason"] for line in lines}
    assert [line["exception"].splitlines()[0] for line in lines if "exception" in line]


def test_many_senders_at_once_lose_nothing(running: Running) -> None:
    bodies = [join(make_rows(20)) for _ in range(24)]
    statuses: list[int] = []

    def send(mine: list[bytes]) -> None:
        with urllib3.PoolManager(retries=False, timeout=60) as pool:
            for body in mine:
                headers = {"Content-Type": otlp_codec.PROTOBUF}
                statuses.append(
                    pool.request("POST", f"{running.receiver.url}/v1/traces", body=body, headers=headers).status
                )

    threads = [threading.Thread(target=send, args=(bodies[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    assert len(running.store.trace(TRACE_ID)) == 480


class SlowIntake:
    """An intake that waits until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        self.closed = 0

    def accept(self, body: bytes, content_type: str) -> HttpReply:
        self.entered.release()
        self.go.wait(20)
        return HttpReply(200, body)

    def refuse(self, status: int, reason: str, message: str, content_type: str) -> HttpReply:
        return HttpReply(status, message.encode(), 1)

    def close(self) -> None:
        self.closed += 1


def post_to(receiver: OtlpReceiver, body: bytes, answers: list[tuple[int, bytes]]) -> None:
    headers = {"Content-Type": otlp_codec.PROTOBUF}
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        answer = pool.request("POST", f"{receiver.url}/v1/traces", body=body, headers=headers)
        answers.append((answer.status, answer.data))


def test_more_requests_than_it_can_hold_are_told_to_come_back() -> None:
    intake, answers = SlowIntake(), list[tuple[int, bytes]]()
    receiver = OtlpReceiver(intake, port=0)
    receiver.start()
    threads = [
        threading.Thread(target=post_to, args=(receiver, b"%d" % number, answers))
        for number in range(MAX_IN_FLIGHT + 8)
    ]
    for thread in threads:
        thread.start()
    assert intake.entered.acquire(timeout=60)
    # One body is being accepted; the others queue behind it, and those over the limit behind them with their refusal.
    deadline = threading.Event()
    for _ in range(2000):
        if receiver._in_flight == MAX_IN_FLIGHT:
            break
        deadline.wait(0.005)
    intake.go.set()
    for thread in threads:
        thread.join()
    receiver.stop()
    assert len(answers) == MAX_IN_FLIGHT + 8
    assert {status for status, _ in answers} <= {200, 503}
    assert sum(status == 200 for status, _ in answers) >= MAX_IN_FLIGHT


def test_stopping_answers_the_request_in_hand_first_and_frees_the_port() -> None:
    intake, answers = SlowIntake(), list[tuple[int, bytes]]()
    receiver = OtlpReceiver(intake, port=0)
    receiver.start()
    sender = threading.Thread(target=post_to, args=(receiver, b"last", answers))
    sender.start()
    assert intake.entered.acquire(timeout=60)
    stopper = threading.Thread(target=receiver.stop)
    stopper.start()
    intake.go.set()
    stopper.join()
    sender.join()
    receiver.stop()
    assert answers == [(200, b"last")]
    assert intake.closed >= 1
    again = OtlpReceiver(SlowIntake(), port=receiver.port)
    again.start()
    again.stop()


class DefectiveIntake(SlowIntake):
    def accept(self, body: bytes, content_type: str) -> HttpReply:
        raise RuntimeError("a defect")


def test_a_defect_of_ours_keeps_the_spans_at_the_sender() -> None:
    receiver = OtlpReceiver(DefectiveIntake(), port=0)
    receiver.start()
    answers: list[tuple[int, bytes]] = []
    for _ in range(2):
        post_to(receiver, b"x", answers)
    receiver.stop()
    assert answers == [(503, b"internal error, see motetrace's log; try again")] * 2


def test_an_address_in_use_is_refused_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OperatorError, match=rf"127\.0\.0\.1:{port}: Address already in use; stop what listens there"
        ):
            OtlpReceiver(SlowIntake(), port=port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("192.0.2.1", 0), ("no such host", 0)])
def test_an_impossible_address_is_refused_by_name(host: str, port: int) -> None:
    with pytest.raises(OperatorError, match=f"{host}:{port}"):
        OtlpReceiver(SlowIntake(), host, port)


def test_ipv6_loopback_works_where_there_is_one() -> None:
    try:
        receiver = OtlpReceiver(SlowIntake(), "::1", 0)
    except OperatorError as exc:
        assert "[::1]" not in str(exc)
        return
    receiver.start()
    assert urllib3.request("GET", receiver.url).status == 200
    receiver.stop()


def test_the_intake_says_when_spans_were_stored(open_database: Open) -> None:
    stored: list[Any] = []
    connection: sqlite3.Connection = open_database()
    intake = SpanIntake(connection, on_stored=lambda rows: stored.append((len(rows), connection.in_transaction)))
    body = join(make_rows(1))
    for _ in range(2):
        assert intake.accept(body, otlp_codec.PROTOBUF).status == 200
    assert stored == [(1, False)]
