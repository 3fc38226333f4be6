"""OTLP through a collector that is not ours: rotel (Rust) takes what the forwarder sends and passes it on.

What arrives behind rotel is read by OpenTelemetry's own protobuf classes, so neither our encoder nor our decoder can
hide a mistake of the other.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from motetrace_host.core.hops import Where
from motetrace_host.core.otlp_span import pack
from motetrace_host.core.span import Link, Span, SpanKind, Status
from motetrace_host.edges import database
from motetrace_host.edges.forward_cursor import ForwardCursor
from motetrace_host.edges.otlp_forwarder import OtlpForwarder
from motetrace_host.edges.otlp_receiver import OtlpReceiver
from motetrace_host.edges.span_store import SpanStore
from motetrace_host.span_intake import SpanIntake
from motetrace_host.span_outbox import SpanOutbox
from tests.host.spans.scripted_backend import ScriptedBackend

DEADLINE_SECONDS = 30.0
TRACE_ID = bytes.fromhex("0c5c23f1d10000000712345678abcdef")
DEVICE, FORWARD, RULE, STORE, WRITE = (bytes.fromhex(f"a1b2c3d40000000{number}") for number in range(1, 6))
START = 1_767_225_600_123_456_789
MS = 1_000_000


def five_spans() -> list[Span]:
    """A failed reading, from device to database, with every field that our spans use."""
    common = {"device.id": "sensor-0042", "messaging.system": "mqtt"}
    write_failed = 'field type conflict: input field "temp" is type string \N{EM DASH} dropped=1'

    def span(
        span_id: bytes,
        parent_id: bytes | None,
        name: str,
        kind: SpanKind,
        start: int,
        end: int,
        service: str,
        **more: object,
    ) -> Span:
        return Span(
            TRACE_ID,
            span_id,
            parent_id,
            name,
            kind,
            START + start,
            START + end,
            service_name=service,
            **more,  # type: ignore[arg-type]
        )

    return [
        span(
            DEVICE,
            None,
            "device_publish",
            SpanKind.PRODUCER,
            0,
            31 * MS,
            "device",
            attributes={**common, "device.seq": 7, "mqtt.qos": 1, "device.firmware": "1.4.2"},
            tracestate="mt=a:1f,vendor=x",
            flags=3,
        ),
        span(
            FORWARD,
            DEVICE,
            "broker_forward",
            SpanKind.INTERNAL,
            31 * MS,
            31 * MS,
            "mqtt-broker",
            attributes={**common, "mqtt.broker": "127.0.0.1:1883"},
            flags=3,
        ),
        span(
            RULE,
            DEVICE,
            "rule_evaluate",
            SpanKind.CONSUMER,
            33 * MS,
            842 * MS,
            "rule-engine",
            attributes={"rule.name": "überhitzt", "rule.matched": True},
            links=(Link(TRACE_ID, DEVICE, {"n": 1}),),
        ),
        span(
            STORE,
            RULE,
            "transform_store",
            SpanKind.SERVER,
            35 * MS,
            841 * MS,
            "function",
            attributes={"function.cold_start": False, "transform.ratio": 0.25, "big": -(2**63)},
            status=Status.OK,
        ),
        span(
            WRITE,
            STORE,
            "db_write",
            SpanKind.CLIENT,
            836 * MS,
            841 * MS,
            "function",
            attributes={"db.status": "error", "empty": ""},
            status=Status.ERROR,
            status_message=write_failed,
        ),
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.01)


class Rotel:
    """A running rotel that takes OTLP/HTTP on `url` and exports to the traces URL it was given."""

    def __init__(self, folder: Path, exports_to: str) -> None:
        found = importlib.util.find_spec("rotel")
        assert found is not None, "rotel is missing: pip install rotel==0.0.1a8"
        assert found.origin is not None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "rotel.log"
        command = [str(Path(found.origin).parent / "rotel-agent"), "start"]
        options = {
            "otlp-http-endpoint": f"127.0.0.1:{self.port}",
            "otlp-grpc-endpoint": f"127.0.0.1:{free_port()}",
            "debug-log": "traces",
            "log-file": str(folder / "agent.log"),
            "pid-file": str(folder / "agent.pid"),
            "exporter": "otlp",
            "otlp-exporter-protocol": "http",
            "otlp-exporter-traces-endpoint": exports_to,
        }
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self._log.read_text())

    def listens(self) -> bool:
        assert self._process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def start_rotel(tmp_path: Path) -> Iterator[Callable[[str], Rotel]]:
    """Starts rotel; stopped at the end."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("rotel is published for Linux on x86_64 only")
    running: list[Rotel] = []

    def start(exports_to: str) -> Rotel:
        running.append(Rotel(tmp_path, exports_to))
        until(running[-1].listens, lambda: running[-1].log)
        return running[-1]

    yield start
    for rotel in running:
        rotel.stop()


def forward(folder: Path, spans: list[Span], url: str) -> None:
    """Store spans as the shim does, and forward them."""
    connection = database.connect(folder / "shim.db")
    with database.transaction(connection):
        SpanStore(connection).insert([pack(span) for span in spans])
    forwarder = OtlpForwarder(SpanOutbox(database.connect(folder / "shim.db"), url, Where("broker:1883", "shim")), url)
    forwarder.start()
    assert forwarder.stop(DEADLINE_SECONDS)
    assert ForwardCursor(connection, url).state() == (len(spans), 0, 0, 0, 0)
    connection.close()


def plain(attributes: list[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in attributes}


def test_a_third_party_collector_reads_every_field_of_our_spans(
    tmp_path: Path, start_rotel: Callable[[str], Rotel]
) -> None:
    sent = {span.span_id: span for span in five_spans()}
    with ScriptedBackend() as behind:
        rotel = start_rotel(f"{behind.url}/v1/traces")
        forward(tmp_path, list(sent.values()), rotel.url)
        until(lambda: len(behind.span_ids) >= 5, lambda: rotel.log)
    assert "Received traces." in rotel.log
    assert sum(map(int, re.findall(r" spans=(\d+)", rotel.log))) == 5

    received: dict[bytes, tuple[str, ProtoSpan]] = {}
    for request in behind.received:
        for group in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            (service,) = (pair.value.string_value for pair in group.resource.attributes if pair.key == "service.name")
            for scope_spans in group.scope_spans:
                assert scope_spans.scope.name == "motetrace"
                received |= {span.span_id: (service, span) for span in scope_spans.spans}

    assert received.keys() == sent.keys()
    for span_id, (service, got) in received.items():
        span = sent[span_id]
        assert (got.trace_id, got.parent_span_id) == (span.trace_id, span.parent_id or b"")
        assert (service, got.name, int(got.kind)) == (span.service_name, span.name, int(span.kind))
        assert (got.start_time_unix_nano, got.end_time_unix_nano) == (span.start_unix_ns, span.end_unix_ns)
        assert plain(list(got.attributes)) == dict(span.attributes)
        assert (got.trace_state, got.flags) == (span.tracestate, span.flags)
        assert (int(got.status.code), got.status.message) == (int(span.status), span.status_message)
        links = [Link(link.trace_id, link.span_id, plain(list(link.attributes))) for link in got.links]  # type: ignore[arg-type]
        assert links == list(span.links)


def test_spans_come_back_to_our_receiver_unchanged_by_a_third_party(
    tmp_path: Path, start_rotel: Callable[[str], Rotel]
) -> None:
    receiver = OtlpReceiver(SpanIntake(database.connect(tmp_path / "behind.db")), port=0)
    receiver.start()
    behind = database.connect(tmp_path / "behind.db")
    store = SpanStore(behind)
    rotel = start_rotel(f"{receiver.url}/v1/traces")
    forward(tmp_path, five_spans(), rotel.url)
    until(lambda: len(store.trace(TRACE_ID)) >= 5, lambda: rotel.log)
    receiver.stop()
    assert [row._replace(id=0) for row in store.trace(TRACE_ID)] == [pack(span) for span in five_spans()]
    assert store.counters() == {"otlp.spans_stored": 5}
    behind.close()
