"""OTLP through a collector that is not ours: rotel (Rust) takes what the forwarder sends and passes it on.

Messages go through the shim's own pipeline, so what rotel reads are the bytes of core/messages/message_spans.py.
What arrives behind it
is read by OpenTelemetry's own protobuf classes, so neither our encoder nor our decoder can hide a mistake of the other.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from services import popen

from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.spans.span import Span, SpanKind, SpanLink, SpanRow, Status
from motetrace_host.network import otlp_codec
from motetrace_host.network.otlp_forwarder import OtlpForwarder
from motetrace_host.network.otlp_receiver import OtlpReceiver
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.shim.span_outbox import SpanOutbox
from motetrace_host.storage import database
from motetrace_host.storage.forward_cursor import ForwardCursor
from motetrace_host.storage.span_store import SpanStore
from tests.host.app.conftest import NOW, Bench
from tests.host.spans.proto_spans import pack
from tests.host.spans.scripted_backend import ScriptedBackend
from tests.waiting import LIMIT_S, until

TRACE_ID = bytes.fromhex("0a010203040000000711111111111111")
DEVICE, RULE, STORE, WRITE = (bytes.fromhex(f"7f7e7d7c{number:08x}") for number in range(7, 11))
FOREIGN_TRACE_ID, FOREIGN_ID = bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes.fromhex("b7ad6b7169203331")
MS = 1_000_000
OWN = [("traceparent", f"00-{TRACE_ID.hex()}-{DEVICE.hex()}-03"), ("tracestate", "mt=a:1f,vendor=x")]
FOREIGN = [("traceparent", f"00-{FOREIGN_TRACE_ID.hex()}-{FOREIGN_ID.hex()}-01"), ("tracestate", "vendor=y")]
SPANS = 3 + 2 * 5


def receive_messages(path: Path) -> None:
    """Let a shim read five messages, whose spans have every field that its spans can have, and one of no spans."""
    bench = Bench(path, trust=[("devices/linked/#", "link")])
    birth = b'{"v":1,"nonce":"0a01020304","fw":"1.4.2","baggage":{"site":"K\xc3\xbchlhaus"}}'
    bench.send(1, topic="motetrace/sensor-0042/birth", payload=birth)
    bench.send(2, *OWN, topic="devices/sensor-0042/telemetry")
    bench.send(3, ("seqref", "0a01020304-00000008-02"), topic="devices/sensor-0042/telemetry", qos=0)
    bench.send(4, ("seqref", "0a01020304-00000009-03"), topic="devices/sensor-0042/telemetry", payload=bytes(300))
    bench.send(5, *FOREIGN, topic="devices/foreign/telemetry")
    bench.send(6, *FOREIGN, topic="devices/linked/telemetry")
    bench.send(7, topic="devices/mute/telemetry")
    assert bench.run()
    bench.close()


def stage_spans() -> list[Span]:
    """What stages sent of a failed reading: the fields that no span of a message has."""
    write_failed = 'field type conflict: input field "temp" is type string \N{EM DASH} dropped=1'

    def span(
        span_id: bytes, parent_id: bytes, name: str, kind: SpanKind, start: int, end: int, service: str, **more: object
    ) -> Span:
        return Span(
            TRACE_ID, span_id, parent_id, name, kind, NOW + start, NOW + end, resource={"service.name": service}, **more  # type: ignore[arg-type]
        )  # fmt: skip

    return [
        span(
            RULE,
            DEVICE,
            "rule_evaluate",
            SpanKind.CONSUMER,
            33 * MS,
            842 * MS,
            "rule-engine",
            attributes={"rule.name": "überhitzt", "rule.matched": True},
            links=(SpanLink(TRACE_ID, DEVICE, {"n": 1}),),
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
            self._process = popen(command, stdout=log, stderr=subprocess.STDOUT)

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


def forward(folder: Path, url: str) -> list[SpanRow]:
    """Receive messages and stages' spans as the shim does, and forward them; gives what was sent."""
    path = folder / "motetrace.db"
    receive_messages(path)
    connection = database.connect(path)
    stored = [pack(span) for span in stage_spans()]
    with database.transaction(connection):
        SpanStore(connection).insert(stored)
    outbox = SpanOutbox(database.connect(path), url, ShimIdentity("broker:1883", "shim"))
    _, _, of_messages = outbox.batch(1_000)
    forwarder = OtlpForwarder(outbox, url)
    forwarder.start()
    assert forwarder.stop(LIMIT_S)
    assert ForwardCursor(connection, url).state() == (SPANS, 0, 0, 0, 0)
    connection.close()
    return [*otlp_codec.decode(of_messages, otlp_codec.PROTOBUF).rows, *stored]


def plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in attributes}


def received_by(backend: ScriptedBackend) -> list[tuple[str, ProtoSpan]]:
    """Service and span of all that a backend was sent."""
    found = []
    for request in backend.received:
        for group in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            service = str(plain(group.resource.attributes)["service.name"])
            for scope_spans in group.scope_spans:
                assert scope_spans.scope.name == "motetrace"
                found += [(service, span) for span in scope_spans.spans]
    return found


def test_a_third_party_collector_reads_every_field_of_our_spans(
    tmp_path: Path, start_rotel: Callable[[str], Rotel]
) -> None:
    with ScriptedBackend() as behind:
        rotel = start_rotel(f"{behind.url}/v1/traces")
        sent = {row.span_id: row for row in forward(tmp_path, rotel.url)}
        until(lambda: len(behind.span_ids) >= SPANS, lambda: rotel.log)
    assert "Received traces." in rotel.log
    assert sum(map(int, re.findall(r" spans=(\d+)", rotel.log))) == SPANS

    received = received_by(behind)
    assert len(received) == len(sent) == SPANS
    for service, span in received:
        row = sent[span.span_id]
        assert span == ProtoSpan.FromString(row.span)
        assert service == plain(Resource.FromString(row.resource).attributes)["service.name"]

    by_device = {(plain(span.attributes).get("device.id"), plain(span.attributes).get("device.seq"), span.name): span
                 for _, span in received}  # fmt: skip
    own = by_device["sensor-0042", 7, "device_publish"]
    assert (own.trace_id, own.span_id, own.parent_span_id) == (TRACE_ID, DEVICE, b"")
    assert (own.start_time_unix_nano, own.end_time_unix_nano) == (NOW - 31 * MS, NOW)
    assert (own.trace_state, own.flags) == ("mt=a:1f,vendor=x", 3)
    told = plain(own.attributes)
    assert (told["device.firmware"], told["baggage.site"], told["device.age_ms"]) == ("1.4.2", "Kühlhaus", 31)
    broker = by_device["sensor-0042", 7, "broker_forward"]
    assert (broker.trace_id, broker.parent_span_id) == (TRACE_ID, DEVICE)
    assert (int(own.kind), int(broker.kind)) == (SpanKind.PRODUCER, SpanKind.INTERNAL)
    assert (broker.start_time_unix_nano, broker.end_time_unix_nano) == (NOW, NOW)
    foreign = by_device["foreign", None, "device_publish"]
    assert (foreign.trace_id, foreign.parent_span_id) == (FOREIGN_TRACE_ID, FOREIGN_ID)
    linked = by_device["linked", None, "device_publish"]
    assert (linked.trace_state, linked.flags) == ("ot=th:0", 3)
    (link,) = linked.links
    assert (link.trace_id, link.span_id, link.trace_state) == (FOREIGN_TRACE_ID, FOREIGN_ID, "vendor=y")


def test_spans_come_back_to_our_receiver_unchanged_by_a_third_party(
    tmp_path: Path, start_rotel: Callable[[str], Rotel]
) -> None:
    receiver = OtlpReceiver(SpanIntake(database.connect(tmp_path / "behind.db")), port=0)
    receiver.start()
    behind = database.connect(tmp_path / "behind.db")
    store = SpanStore(behind)
    rotel = start_rotel(f"{receiver.url}/v1/traces")
    sent = forward(tmp_path, rotel.url)
    until(lambda: store.counters().get("otlp.spans_stored", 0) >= SPANS, lambda: rotel.log)
    receiver.stop()
    back = [row._replace(id=0) for trace_id in {row.trace_id for row in sent} for row in store.trace(trace_id)]
    assert sorted(back) == sorted(sent)
    assert store.counters() == {"otlp.spans_stored": SPANS}
    behind.close()
