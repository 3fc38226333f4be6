"""The forwarder against backends that work, fail, refuse and vanish: every span arrives once, or is counted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import popen
from structlog.testing import capture_logs

from motetrace_host.core.errors import OperatorError
from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.network import otlp_codec, otlp_forwarder
from motetrace_host.network.otlp_forwarder import (
    FIRST_PAUSE_SECONDS,
    IDLE_SECONDS,
    LAST_PAUSE_SECONDS,
    MAX_BATCH_SPANS,
    MAX_RETRY_AFTER_SECONDS,
    OtlpForwarder,
    retry_after_seconds,
    traces_url,
)
from motetrace_host.network.otlp_receiver import OtlpReceiver
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.shim.span_outbox import SpanOutbox, unsent_elsewhere
from motetrace_host.storage import database
from motetrace_host.storage.forward_cursor import ForwardCursor, ForwardState, Position
from motetrace_host.storage.span_store import SpanStore
from tests.host.spans.conftest import Open
from tests.host.spans.proto_spans import pack
from tests.host.spans.scripted_backend import Received, Reply, ScriptedBackend
from tests.host.spans.span_samples import TRACE_ID, make_rows, make_span
from tests.waiting import LIMIT_S, until

TARGET = "backend"


class Shim:
    """A store with spans, and forwarders to send them."""

    def __init__(self, open_database: Open) -> None:
        self._open = open_database
        self.connection = open_database()
        self.store = SpanStore(self.connection)

    def add(self, rows: list[SpanRow]) -> list[bytes]:
        """Store rows; returns their span ids."""
        with database.transaction(self.connection):
            self.store.insert(rows)
        return [row.span_id for row in rows]

    def forwarder(self, url: str, **options: object) -> OtlpForwarder:
        options.setdefault("rng", random.Random(1))
        return OtlpForwarder(SpanOutbox(self._open(), TARGET, ShimIdentity("broker:1883", "shim")), url, **options)  # type: ignore[arg-type]

    @property
    def cursor(self) -> ForwardState:
        return ForwardCursor(self.connection, TARGET).state()


@pytest.fixture
def shim(open_database: Open) -> Shim:
    return Shim(open_database)


def drain(forwarder: OtlpForwarder) -> list[float]:
    """Step until nothing is left; returns the pauses asked for on the way."""
    pauses = []
    while (pause := forwarder.step()) != IDLE_SECONDS or not forwarder._drained:
        pauses.append(pause)
        assert len(pauses) < 500
    forwarder.stop(0)
    return pauses


def test_every_stored_span_is_sent_once_in_order_and_in_batches(shim: Shim) -> None:
    sent = shim.add(make_rows(MAX_BATCH_SPANS + 100))
    with ScriptedBackend() as backend:
        assert drain(shim.forwarder(backend.url)) == [0.0, 0.0]
    assert [len(request.span_ids) for request in backend.received] == [MAX_BATCH_SPANS, 100]
    assert backend.connections == 1
    assert backend.span_ids == sent
    assert shim.cursor == (len(sent), 0, 0, 0, 0)


def test_a_request_is_what_otlp_over_http_asks_for(shim: Shim) -> None:
    shim.add(make_rows(1))
    with ScriptedBackend() as backend:
        drain(shim.forwarder(backend.url, headers={"Authorization": "Bearer x"}))
    (request,) = backend.received
    assert request.path == "/v1/traces"
    assert request.headers["Content-Type"] == "application/x-protobuf"
    assert request.headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("host", "compression", "encoding"),
    [
        ("127.0.0.1", "auto", None),
        ("localhost", "auto", None),
        ("127.0.0.1", "none", None),
        ("127.0.0.1", "gzip", "gzip"),
    ],
)
def test_spans_are_compressed_as_told(shim: Shim, host: str, compression: str, encoding: str | None) -> None:
    sent = shim.add(make_rows(10))
    with ScriptedBackend() as backend:
        drain(shim.forwarder(f"http://{host}:{backend.port}", compression=compression))
    (request,) = backend.received
    assert request.headers.get("Content-Encoding") == encoding
    assert request.span_ids == sent


@pytest.mark.parametrize(
    ("endpoint", "compresses"),
    [
        ("http://127.8.9.1:4318", False),
        ("http://[::1]:4318", False),
        ("http://LOCALHOST", False),
        ("http://10.0.0.7:4318", True),
        ("http://[2001:db8::1]:4318", True),
        ("https://collector.example", True),
        ("http://localhost.example", True),
    ],
)
def test_only_what_stays_on_this_machine_is_not_compressed(shim: Shim, endpoint: str, compresses: bool) -> None:
    forwarder = shim.forwarder(endpoint)
    assert (forwarder._backend.headers.get("Content-Encoding") == "gzip") == compresses
    forwarder.stop(0)


def test_a_batch_is_bounded_in_bytes(shim: Shim) -> None:
    shim.add([pack(make_span(attributes={"fill": "x" * 60_000})) for _ in range(40)])
    with ScriptedBackend() as backend:
        drain(shim.forwarder(backend.url))
    assert len(backend.span_ids) == 40
    assert max(len(request.body) for request in backend.received) <= 2**21 + 10_000


def test_our_own_receiver_gets_every_span_unchanged(shim: Shim, open_database: Open) -> None:
    rows = [*make_rows(700), *make_rows(50, resource={"service.name": "function", "host.name": "pi"})]
    shim.add(rows)
    receiver = OtlpReceiver(SpanIntake(open_database("other")), port=0)
    receiver.start()
    drain(shim.forwarder(receiver.url))
    receiver.stop()
    received = SpanStore(open_database("other")).trace(TRACE_ID)
    assert sorted(row._replace(id=0) for row in received) == sorted(rows)


def test_spans_stored_while_it_runs_are_sent_and_stopping_sends_the_rest(shim: Shim) -> None:
    with ScriptedBackend() as backend:
        forwarder = shim.forwarder(backend.url)
        forwarder.start()
        first = shim.add(make_rows(10))
        forwarder.notify()
        until(lambda: len(backend.span_ids) == 10)
        second = shim.add(make_rows(10))
        assert forwarder.stop(LIMIT_S)
    assert backend.span_ids == first + second
    assert not forwarder._thread.is_alive()


def test_an_unreachable_backend_is_tried_again_with_growing_pauses_and_one_line_per_doubling(shim: Shim) -> None:
    sent = shim.add(make_rows(5))
    with ScriptedBackend() as gone:
        url, port = gone.url, gone.port
    forwarder = shim.forwarder(url)
    with capture_logs() as logs:
        pauses = [forwarder.step() for _ in range(20)]
    caps = [min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number) for number in range(20)]
    assert all(cap / 2 <= pause <= cap for pause, cap in zip(pauses, caps, strict=True))
    assert len(set(pauses[-5:])) == 5  # jitter
    assert [line["attempts"] for line in logs] == [1, 2, 4, 8, 16]
    assert shim.cursor == (0, 0, 0, 5, 0)
    with ScriptedBackend(port=port) as back, capture_logs() as logs:
        drain(forwarder)
    assert back.span_ids == sent
    assert [line["event"] for line in logs] == ["otlp_forward_recovered"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_backend_gets_the_same_bytes_again_after_the_time_it_asked_for(shim: Shim, status: int) -> None:
    shim.add(make_rows(5))
    answers = iter([Reply(status, headers={"Retry-After": "7"}), Reply(status), Reply()])
    with ScriptedBackend(lambda request: next(answers)) as backend:
        pauses = drain(shim.forwarder(backend.url))
    assert pauses[0] == 7.0
    assert 1.0 <= pauses[1] <= 2.0
    assert len({request.body for request in backend.received}) == 1
    assert shim.cursor == (5, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("999999999999", MAX_RETRY_AFTER_SECONDS),
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(5, usegmt=True), 0.0),
    ],
)
def test_retry_after_is_honoured_in_seconds_and_as_a_date_up_to_a_limit(value: str, expected: float) -> None:
    assert retry_after_seconds(value, 1_000_000.0) == expected


@given(st.text(max_size=40))
def test_any_retry_after_is_a_bounded_pause_or_none(value: str) -> None:
    pause = retry_after_seconds(value, 1_000_000.0)
    assert pause is None or 0.0 <= pause <= MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_spans_wait_while_endpoint_or_credentials_are_wrong(shim: Shim, status: int) -> None:
    sent = shim.add(make_rows(3))
    answers = iter([Reply(status), Reply()])
    with ScriptedBackend(lambda request: next(answers)) as backend, capture_logs() as logs:
        forwarder = shim.forwarder(backend.url)
        assert forwarder.step() > 0.0
        assert shim.cursor == (0, 0, 0, 3, 0)  # sent, refused, shed, waiting
        drain(forwarder)
    assert backend.received[1].span_ids == sent
    assert shim.cursor == (3, 0, 0, 0, 0)
    assert logs[0]["event"] == "otlp_forward_misconfigured"
    assert "check endpoint and credentials" in logs[0]["error"]


@pytest.mark.parametrize("status", [400, 500, 501])
def test_a_refused_batch_is_counted_logged_once_and_passed_over(shim: Shim, status: int) -> None:
    shim.add(make_rows(3))
    with ScriptedBackend(lambda request: Reply(status, b"no\x1b[2J")) as backend, capture_logs() as logs:
        forwarder = shim.forwarder(backend.url)
        assert forwarder.step() == 0.0
        shim.add(make_rows(2))
        drain(forwarder)
    assert len(backend.received) == 2
    assert shim.cursor == (0, 5, 0, 0, 0)
    (line,) = logs
    assert (line["event"], line["status"], line["answer"]) == ("otlp_forward_refused", status, "no\\x1b[2J")


def test_spans_after_a_refused_batch_still_arrive(shim: Shim) -> None:
    shim.add(make_rows(3))
    answers = iter([Reply(400), Reply()])
    with ScriptedBackend(lambda request: next(answers)) as backend:
        forwarder = shim.forwarder(backend.url)
        forwarder.step()
        later = shim.add(make_rows(2))
        drain(forwarder)
    assert backend.received[1].span_ids == later
    assert shim.cursor == (2, 3, 0, 0, 0)


def test_a_413_halves_the_batch_until_it_fits_and_refuses_only_the_span_that_never_does(shim: Shim) -> None:
    rows = make_rows(40)
    rows[17] = pack(make_span(attributes={"fill": "x" * 10_000}))
    sent = shim.add(rows)

    def script(request: Received) -> Reply:
        return Reply(413 if len(request.span_ids) > 8 or len(request.body) > 9_000 else 200)

    taken: list[bytes] = []
    with ScriptedBackend(lambda request: script(request)) as backend:
        drain(shim.forwarder(backend.url))
        for request in backend.received:
            taken += request.span_ids if script(request).status == 200 else []
    assert taken == sent[:17] + sent[18:]
    assert shim.cursor == (39, 1, 0, 0, 0)


def test_after_a_413_batches_grow_again(shim: Shim) -> None:
    shim.add(make_rows(16_000))
    first = iter([Reply(413)])
    with ScriptedBackend(lambda request: next(first, Reply())) as backend:
        drain(shim.forwarder(backend.url))
    sizes = [len(request.span_ids) for request in backend.received[:-1]]
    assert sizes[0] == MAX_BATCH_SPANS
    assert sizes[1] == MAX_BATCH_SPANS // 2
    assert sizes[1:] == sorted(sizes[1:])
    assert sizes[-1] > sizes[1]


@pytest.mark.parametrize("content_type", [otlp_codec.PROTOBUF, otlp_codec.JSON])
def test_a_partial_success_is_counted_and_its_message_told(shim: Shim, content_type: str) -> None:
    shim.add(make_rows(5))
    reply = Reply(200, otlp_codec.response(2, "two were odd", content_type), {"Content-Type": content_type})
    with ScriptedBackend(lambda request: reply) as backend, capture_logs() as logs:
        drain(shim.forwarder(backend.url))
    assert shim.cursor == (3, 2, 0, 0, 0)
    assert [(line["event"], line["rejected"], line["message"]) for line in logs] == [
        ("otlp_forward_partial", 2, "two were odd")
    ]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"\xff\xff", {"Content-Type": otlp_codec.PROTOBUF}),
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
        Reply(200, b"not gzip", {"Content-Encoding": "gzip"}),
        Reply(200, b"x" * 1_000_000),
        Reply(202),
        Reply(200, otlp_codec.response(10**9, "", otlp_codec.PROTOBUF), {"Content-Type": otlp_codec.PROTOBUF}),
    ],
)
def test_a_success_with_an_odd_body_is_not_sent_again(shim: Shim, reply: Reply) -> None:
    shim.add(make_rows(5))
    with ScriptedBackend(lambda request: reply) as backend:
        drain(shim.forwarder(backend.url))
    assert len(backend.received) == 1
    assert shim.cursor.sent + shim.cursor.refused == 5


def test_a_locked_database_is_waited_for(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    shim.add(make_rows(2))
    with ScriptedBackend() as backend, capture_logs() as logs:
        forwarder = shim.forwarder(backend.url)
        shim.connection.execute("BEGIN IMMEDIATE")
        assert forwarder.step() > 0
        shim.connection.execute("ROLLBACK")
        drain(forwarder)
    assert logs[0]["event"] == "otlp_forward_store"
    assert shim.cursor.sent == 2


def test_a_defect_does_not_end_the_thread(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_forwarder, "FIRST_PAUSE_SECONDS", 0.01)
    sent = shim.add(make_rows(2))
    answers = iter([ValueError("a defect")])
    original = SpanOutbox.batch

    def batch(self: SpanOutbox, max_spans: int) -> tuple[int, Position, bytes]:
        for exc in answers:
            raise exc
        return original(self, max_spans)

    monkeypatch.setattr(SpanOutbox, "batch", batch)
    with ScriptedBackend() as backend, capture_logs():
        forwarder = shim.forwarder(backend.url)
        forwarder.start()
        until(lambda: backend.span_ids == sent)
        forwarder.stop(LIMIT_S)


def test_stopping_while_the_backend_is_down_keeps_the_spans_for_the_next_start(shim: Shim) -> None:
    sent = shim.add(make_rows(5))
    with ScriptedBackend() as gone:
        url, port = gone.url, gone.port
    forwarder = shim.forwarder(url)
    with capture_logs():
        forwarder.start()
        assert not forwarder.stop(0.1)
        forwarder._thread.join(LIMIT_S)
    assert shim.cursor.pending_spans == 5
    with ScriptedBackend(port=port) as back:
        drain(shim.forwarder(url))
    assert back.span_ids == sent


def test_stopping_does_not_wait_for_a_backend_that_never_answers(shim: Shim) -> None:
    shim.add(make_rows(1))
    release = threading.Event()

    def hang(request: Received) -> Reply:
        release.wait(LIMIT_S)
        return Reply()

    with ScriptedBackend(hang) as backend:
        forwarder = shim.forwarder(backend.url)
        forwarder.start()
        until(lambda: bool(backend.received))
        assert not forwarder.stop(0.05), "it waited for the answer"
        release.set()
        forwarder._thread.join(LIMIT_S)


def test_a_forwarder_may_be_stopped_before_it_ever_ran(shim: Shim) -> None:
    shim.forwarder("http://backend:1").stop()


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://host:4318", "http://host:4318/v1/traces"),
        ("http://host:4318/", "http://host:4318/v1/traces"),
        (" https://host/otlp ", "https://host/otlp/v1/traces"),
        ("http://host:4318/v1/traces", "http://host:4318/v1/traces"),
        ("http://host:4318/v1/traces/", "http://host:4318/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_an_endpoint_is_a_base_url_or_the_whole_url(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "host:4318",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://h?x=1",
        "http://[::1",
        "http://h#f",
    ],
)
def test_an_endpoint_that_cannot_work_is_refused_with_an_example(endpoint: str) -> None:
    with pytest.raises(OperatorError, match="expected http://host:4318 or https://"):
        traces_url(endpoint)


def test_credentials_in_an_endpoint_are_refused_and_not_repeated() -> None:
    with pytest.raises(OperatorError, match="--otlp-headers-file") as caught:
        traces_url("http://user:secret@host:4318")
    assert "secret" not in str(caught.value)


def test_spans_that_a_former_target_never_got_are_counted_and_none_of_the_present_one(shim: Shim) -> None:
    shim.add(make_rows(5))
    with ScriptedBackend() as backend:
        drain(shim.forwarder(backend.url))
    shim.add(make_rows(3))
    assert unsent_elsewhere(shim.connection, TARGET) == {}
    assert unsent_elsewhere(shim.connection, "another") == {TARGET: 3}
    assert unsent_elsewhere(shim.connection, "") == {TARGET: 3}


FORWARD = """
import sys
from motetrace_host.network import otlp_forwarder
from motetrace_host.storage import database
from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.shim.span_outbox import SpanOutbox
path, url = sys.argv[1:]
otlp_forwarder.MAX_BATCH_SPANS = 10
forwarder = otlp_forwarder.OtlpForwarder(SpanOutbox(database.connect(path), "backend", ShimIdentity("b", "c")), url)
while not forwarder._drained:
    forwarder.step()
"""


@pytest.fixture
def forward_process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts processes that forward the store of this test; they are killed at the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(url: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", FORWARD, str(tmp_path / "motetrace.db"), url]
        processes.append(popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_kill_9_in_mid_stream_loses_nothing_and_repeats_at_most_one_batch(
    shim: Shim, open_database: Open, forward_process: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    sent = shim.add(make_rows(200))
    kill_at = [3, 8, 14]  # requests after which the process dies, at a moment of its own choosing
    store = SpanIntake(open_database("other"))
    running: list[subprocess.Popen[bytes]] = []

    def script(request: Received) -> Reply:
        assert store.accept(request.body, otlp_codec.PROTOBUF).status == 200
        if kill_at and len(backend.received) >= kill_at[0]:
            kill_at.pop(0)
            running[-1].send_signal(signal.SIGKILL)
        return Reply()

    with ScriptedBackend(script) as backend:
        while shim.cursor.pending_spans:
            running.append(forward_process(backend.url))
            running[-1].wait(LIMIT_S)
            assert len(running) < 10
    assert kill_at == []
    assert len(running) >= 3
    assert sorted(set(backend.span_ids)) == sorted(sent)
    assert len(backend.span_ids) <= len(sent) + 3 * 10
    assert len(SpanStore(open_database("other")).trace(TRACE_ID)) == 200
    repeated = [request for request in backend.received if backend.span_ids.count(request.span_ids[0]) > 1]
    assert len({request.body for request in repeated}) * 2 == len(repeated)  # byte for byte the same batch
