"""The shim beside a bare paho subscriber and plain "paho + OpenTelemetry SDK" loops: rate, processor time, memory.

Twice: fed from memory by a socket that speaks just enough MQTT (`feeder.py`), so that the subscriber alone is
measured, on one processor that it has to itself; and through a real mosquitto, with what that spends itself. QoS 1
everywhere. The shim writes ledger and messages to disk before it acknowledges; the others write nothing.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from services import Mosquitto, Valkey

from tests.benchmarks import flood
from tests.benchmarks.subjects import Peer, Shim, Subject, cpu_s, resident_bytes, sink

FEEDER = Path(__file__).with_name("feeder.py")
DEVICES = 10_000
FED, FED_PEERS = 600_000, 30_000
THROUGH, THROUGH_PEERS = 100_000, 20_000
ROUNDS = 3
BROKER = "max_inflight_messages 10000\n"
SUBJECTS = (
    Peer("paho, does nothing", "bare"),
    Peer("paho + SDK, every message a span, OTLP out", "sdk"),
    Peer("paho + SDK, 1 % sampled, OTLP out", "sdk1"),
    Shim("motetrace run, 1 % sampled, OTLP out", "--sample", "1%", sends=True),
    Shim("motetrace run, every trace kept on disk"),
    Shim("motetrace run, every trace kept, OTLP out", sends=True),
)
PLAIN = SUBJECTS[1].name
FIRST, *OTHERS = sorted(os.sched_getaffinity(0))


class Result(NamedTuple):
    """Messages a second until the last acknowledgement; processor us a message; of the broker too; resident bytes."""

    rate: float
    cpu_us: float
    broker_us: float = 0.0
    resident_bytes: int = 0


def fed(subject: Subject, folder: Path, backend: str) -> Result:
    """Measure one subject on the feeder."""
    messages = FED if isinstance(subject, Shim) else FED_PEERS
    command = [sys.executable, str(FEEDER), str(messages), str(DEVICES)]
    with (
        _processors(set(OTHERS) or {FIRST}),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as feeder,
    ):
        assert feeder.stdin is not None
        assert feeder.stdout is not None
        with _processors({FIRST}):
            process = subject.start(int(feeder.stdout.readline()), folder, messages, backend)
        before = cpu_s(process.pid)
        feeder.stdin.write("\n")
        feeder.stdin.flush()
        seconds = float(feeder.stdout.readline())
        subject.wait(process, folder, messages)
        spent, memory = cpu_s(process.pid) - before, resident_bytes(process.pid)
        feeder.stdin.write("\n")
        feeder.stdin.flush()
        _end(process)
    return Result(messages / seconds, spent / messages * 1e6, resident_bytes=memory)


def through_mosquitto(subject: Subject, folder: Path, backend: str) -> Result:
    """Measure one subject behind a real broker."""
    messages = THROUGH if isinstance(subject, Shim) else THROUGH_PEERS
    with Mosquitto(folder / "broker", settings=BROKER) as broker:
        process = subject.start(broker.port, folder, messages, backend)
        assert broker.pid is not None
        before, broker_before, began = cpu_s(process.pid), cpu_s(broker.pid), time.perf_counter()
        flood.run(broker.host, broker.port, messages)
        subject.wait(process, folder, messages)
        seconds = time.perf_counter() - began
        spent, broker_spent = cpu_s(process.pid) - before, cpu_s(broker.pid) - broker_before
        _end(process)
    return Result(messages / seconds, spent / messages * 1e6, broker_spent / messages * 1e6)


@contextlib.contextmanager
def _processors(which: set[int]) -> Iterator[None]:
    """Let what is started here run on these processors alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, which)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(30)


def _measured(
    way: Callable[[Subject, Path, str], Result], subjects: Sequence[Subject], backend: str
) -> dict[str, Result]:
    """The best of interleaved rounds each: other work on the machine only ever makes things slower."""
    results: dict[str, list[Result]] = {subject.name: [] for subject in subjects}
    for _ in range(ROUNDS):
        for subject in subjects:
            with tempfile.TemporaryDirectory() as folder:
                results[subject.name].append(way(subject, Path(folder), backend))
    return {
        name: Result(
            max(each.rate for each in rounds),
            min(each.cpu_us for each in rounds),
            min(each.broker_us for each in rounds),
            max(each.resident_bytes for each in rounds),
        )
        for name, rounds in results.items()
    }


def main() -> None:
    """Print both tables."""
    with sink() as backend, tempfile.TemporaryDirectory() as folder, Valkey(Path(folder), fsync="everysec") as valkey:
        shared = Shim("motetrace run, kept on disk, shared ledger", "--ledger", valkey.url)
        results = _measured(fed, (*SUBJECTS, shared), backend)
        plain = results[PLAIN]
        print(f"{f'QoS 1 from memory, {DEVICES} devices':46}    msg/s  CPU us/msg  msg/s a core  of plain SDK      MB")
        for name, one in results.items():
            print(
                f"  {name:44} {one.rate:8.0f} {one.cpu_us:11.1f} {1e6 / one.cpu_us:13.0f}"
                f" {plain.cpu_us / one.cpu_us:13.1f} {one.resident_bytes / 1e6:7.0f}"
            )
        results = _measured(through_mosquitto, SUBJECTS, backend)
        print(f"\n{f'QoS 1 through mosquitto, {flood.DEVICES} devices':46}    msg/s  CPU us/msg  mosquitto's   of it")
        for name, one in results.items():
            print(
                f"  {name:44} {one.rate:8.0f} {one.cpu_us:11.1f} {one.broker_us:12.1f}"
                f" {one.cpu_us / one.broker_us:7.2f}"
            )
