"""The demo, run as a user runs it, and judged by what its databases hold."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import urllib3
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from services import Influxd, popen

from motetrace_host.storage import database
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests import tables

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICES = {"sensor-0041", "sensor-0042", "sensor-0043", "sensor-0044", "legacy-0007"}
FAULTY = "sensor-0044"
READINGS = 12
COLD_START_EVERY = 10
PARENTS = {
    "device_publish": None,
    "broker_forward": "device_publish",
    "rule_evaluate": "device_publish",
    "transform_store": "rule_evaluate",
    "db_write": "transform_store",
}
SERVICES = {
    "device_publish": "device",
    "broker_forward": "mqtt-broker",
    "rule_evaluate": "rule-engine",
    "transform_store": "store-function",
    "db_write": "store-function",
}
KINDS = {
    "device_publish": Span.SPAN_KIND_PRODUCER,
    "broker_forward": Span.SPAN_KIND_INTERNAL,
    "rule_evaluate": Span.SPAN_KIND_CONSUMER,
    "transform_store": Span.SPAN_KIND_SERVER,
    "db_write": Span.SPAN_KIND_CLIENT,
}


@dataclass
class Demo:
    """One demo that has ended, and what its databases hold."""

    status: int
    output: str
    folder: Path
    messages: list[tuple[str, int, bytes, str]] = field(default_factory=list)
    spans: dict[bytes, dict[str, Span]] = field(default_factory=lambda: defaultdict(dict))
    services: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def read(self) -> None:
        path = self.folder / "state" / "motetrace.db"
        self.messages = tables.query(path, "SELECT device_id, seq, trace_id, origin FROM message")
        for trace_id, span, resource in tables.query(path, "SELECT trace_id, span, resource FROM span"):
            parsed = Span.FromString(span)
            assert parsed.name not in self.spans[trace_id], f"two {parsed.name} in one trace"
            self.spans[trace_id][parsed.name] = parsed
            for attribute in Resource.FromString(resource).attributes:
                if attribute.key == "service.name":
                    self.services[parsed.name].add(attribute.value.string_value)

    def traces_of(self, device_id: str) -> list[dict[str, Span]]:
        return [self.spans[trace_id] for device, _, trace_id, _ in self.messages if device == device_id]


def attributes(span: Span) -> dict[str, object]:
    return {each.key: _plain(each.value) for each in span.attributes}


def _plain(value: AnyValue) -> object:
    return getattr(value, value.WhichOneof("value") or "string_value")


def command(folder: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples/demo/demo.py"), "--folder", str(folder), *options]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    options = ["--readings", str(READINGS), "--interval-ms", "60", "--cold-start-every", str(COLD_START_EVERY)]
    done = subprocess.run(
        command(folder, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False
    )
    demo = Demo(done.returncode, done.stdout, folder)
    assert demo.status == 0, demo.output
    demo.read()
    return demo


def test_every_published_reading_is_in_the_ledger_once(demo: Demo) -> None:
    counts = {device: sorted(seq for owner, seq, _, _ in demo.messages if owner == device) for device in DEVICES}
    for device, seqs in counts.items():
        assert seqs == list(range(seqs[0], seqs[0] + READINGS)), device
    assert len(demo.messages) == READINGS * len(DEVICES)


def test_every_reading_has_a_trace_of_its_own_with_five_spans_in_the_right_order(demo: Demo) -> None:
    assert len(demo.spans) == READINGS * len(DEVICES)
    for spans in demo.spans.values():
        assert set(spans) == set(PARENTS)
        for name, parent in PARENTS.items():
            assert spans[name].parent_span_id == (spans[parent].span_id if parent else b"")
            assert spans[name].kind == KINDS[name]
            assert spans[name].start_time_unix_nano <= spans[name].end_time_unix_nano
    assert demo.services == {name: {service} for name, service in SERVICES.items()}


def test_the_stages_reported_every_reading_and_which_failed(demo: Demo) -> None:
    connection = database.connect(demo.folder / "state" / "motetrace.db")
    rows = SqliteLedger(connection).read()
    connection.close()
    devices = {row.boot_nonce: row.device_id for row in rows if row.hop == "shim"}
    counted = {(devices[row.boot_nonce], row.hop): row.seen for row in rows}
    for device in DEVICES:
        for hop in ("shim", "rule", "function", "db"):
            assert counted[device, hop].count == READINGS, (device, hop)
            assert counted[device, hop].gaps == []
    assert {(device, hop) for device, hop in counted if "." in hop} == {("sensor-0044", "db.failed")}
    refused = [
        seq
        for device, seq, trace_id, _ in demo.messages
        if demo.spans[trace_id]["db_write"].status.code == Status.STATUS_CODE_ERROR
    ]
    failed = counted["sensor-0044", "db.failed"]
    assert [seq for start, end in failed.runs() for seq in range(start, end + 1)] == sorted(refused)


def test_each_way_to_be_traced_is_used_by_a_device(demo: Demo) -> None:
    origins = {device: {origin for owner, _, _, origin in demo.messages if owner == device} for device in DEVICES}
    assert origins == {
        "sensor-0041": {"traceparent"},
        "sensor-0042": {"seqref"},
        "sensor-0043": {"traceparent"},
        "sensor-0044": {"seqref"},
        "legacy-0007": {"seq"},
    }


def test_devices_that_mark_the_sensor_read_have_a_first_span_with_a_length(demo: Demo) -> None:
    for device in DEVICES - {"legacy-0007"}:
        for spans in demo.traces_of(device):
            published = spans["device_publish"]
            length_ms = (published.end_time_unix_nano - published.start_time_unix_nano) / 1e6
            assert 10 <= length_ms < 2000  # reading takes the sensor 12 to 21 ms
            assert attributes(published)["device.id"] == device


def test_the_firmware_bug_shows_in_the_databases_own_words_beside_device_and_firmware(demo: Demo) -> None:
    failed = [spans for spans in demo.traces_of(FAULTY) if spans["db_write"].status.code == Status.STATUS_CODE_ERROR]
    assert len(failed) == READINGS - 1
    for spans in failed:
        assert "field type conflict" in spans["db_write"].status.message
        assert '"temp"' in spans["db_write"].status.message
        assert attributes(spans["db_write"])["db.status"] == "error"
        assert attributes(spans["db_write"])["error.type"] == "400"
        assert attributes(spans["device_publish"])["device.firmware"] == "1.4.2-rc1"
    for device in DEVICES - {FAULTY}:
        for spans in demo.traces_of(device):
            assert attributes(spans["db_write"])["db.status"] == "ok"


def test_one_call_in_ten_has_a_cold_start_and_its_span_is_that_long(demo: Demo) -> None:
    cold = [
        spans["transform_store"]
        for spans in demo.spans.values()
        if attributes(spans["transform_store"])["function.cold_start"]
    ]
    assert len(cold) == READINGS * len(DEVICES) // COLD_START_EVERY
    for span in cold:
        assert span.end_time_unix_nano - span.start_time_unix_nano >= 800e6
        assert attributes(span)["faas.coldstart"] is True


def test_the_database_holds_exactly_what_the_traces_say_was_stored(demo: Demo) -> None:
    traced = {
        (device, seq, trace_id.hex())
        for device, seq, trace_id, _ in demo.messages
        if attributes(demo.spans[trace_id]["db_write"])["db.status"] == "ok"
    }
    with Influxd(demo.folder / "logs" / "influxd") as influx:
        query = {"db": "plant", "q": "SELECT seq, trace_id FROM reading GROUP BY device"}
        answer = urllib3.request("POST", f"{influx.url}/query", fields=query, timeout=60).json()
    stored = {
        (series["tags"]["device"], seq, trace_id)
        for series in answer["results"][0]["series"]
        for _, seq, trace_id in series["values"]
    }
    assert stored == traced
    assert len(stored) == READINGS * (len(DEVICES) - 1) + 1


def test_the_end_shows_traces_counts_verdict_and_the_next_command(demo: Demo) -> None:
    assert demo.output.count("device_publish") == 3
    assert f"  {FAULTY}  {READINGS:9}{READINGS:9}{1:9}{READINGS - 1:9}{READINGS:9}" in demo.output
    assert "every published seq accounted for" in demo.output
    last = demo.output.strip().splitlines()[-1]
    assert last.startswith("look further:")
    words = last.split()
    assert words[3:5] == ["trace", FAULTY]
    done = subprocess.run(
        [sys.executable, "-m", "motetrace_host", *words[3:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "field type conflict" in " ".join(done.stdout.split())


class Running:
    """A demo that goes on until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "state" / "motetrace.db"
        self.output = folder.parent / "output"
        with self.output.open("wb") as out:
            self.process = popen(
                command(folder, "--forever", "--interval-ms", "100", "--cold-start-every", "50"),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def messages(self) -> int:
        try:
            return tables.messages(self.database)
        except sqlite3.OperationalError:  # the schema is not there yet
            return 0

    def parts(self) -> list[str]:
        """The command lines of the processes that belong to this demo: its folder or its broker's port is in them."""
        marks = [str(self.folder)]
        for word in self.output.read_text().split():
            if word.startswith("mqtt://"):
                host, _, port = word.removeprefix("mqtt://").rpartition(":")
                marks += [f"{host}:{port} ", f"{host} {port} "]
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
        return [
            line
            for line in listed.stdout.splitlines()
            if any(mark in line for mark in marks) and int(line.split()[0]) != self.process.pid
        ]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "demo")
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGINT)
    running.process.wait(60)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_without_end_accounts_for_everything_when_it_is_stopped(running: Running, stop: signal.Signals) -> None:
    running.wait_until(lambda: running.messages() > 60)
    assert len(running.parts()) >= 9
    running.process.send_signal(stop)
    assert running.process.wait(60) == 0, running.output.read_text()
    assert "every published seq accounted for" in running.output.read_text()
    assert running.parts() == []


def test_a_part_that_dies_ends_the_demo_with_its_log_and_leaves_nothing_running(running: Running) -> None:
    running.wait_until(lambda: running.messages() > 10)
    (line,) = [line for line in running.parts() if "function.py" in line]
    # The one process that this test names by its id: a part of the demo that it started.
    subprocess.run(["kill", "-KILL", line.split()[0]], check=True)
    assert running.process.wait(60) == 2
    assert "function ended with exit status -9" in running.output.read_text()
    assert "function.log" in running.output.read_text()
    assert running.parts() == []


def test_two_demos_do_not_use_one_folder(running: Running) -> None:
    running.wait_until(lambda: running.messages() > 0)
    second = subprocess.run(
        command(running.folder, "--readings", "2"), capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 2
    assert "another demo is using" in second.stderr


def test_a_folder_with_anything_else_in_it_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter one")
    refused = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "'thesis.txt'" in refused.stderr
    assert (tmp_path / "thesis.txt").read_text() == "chapter one"
