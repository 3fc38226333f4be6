"""The shim beside a bare paho subscriber and a plain "paho + one SDK span per message" loop: rate, CPU per message.

All three get the same QoS 1 messages from the same real broker, one after the other. The shim writes its ledger and all
spans to disk before it acknowledges; the other two write nothing.
"""

import contextlib
import http.server
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from services import Mosquitto, free_port

from tests.benchmarks import flood

MESSAGES = 20_000
ROUNDS = 3
PEERS = Path(__file__).with_name("peers.py")
SETTINGS = "max_inflight_messages 1000\n"


class _Sink(http.server.BaseHTTPRequestHandler):
    """An OTLP backend that takes everything and does nothing, so that only the sender's cost shows."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _sink() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measure(pid: int, broker: Mosquitto, done: threading.Event) -> tuple[float, float]:
    """Flood, wait for `done`; messages per second and CPU microseconds per message."""
    cpu = _cpu_s(pid)
    start = time.perf_counter()
    flood.run(broker.host, broker.port, MESSAGES)
    if not done.wait(120):
        raise TimeoutError(f"not all of {MESSAGES} messages were handled within 120 s")
    seconds = time.perf_counter() - start
    return MESSAGES / seconds, (_cpu_s(pid) - cpu) / MESSAGES * 1e6


def _peer(kind: str, folder: Path, otlp_url: str) -> tuple[float, float]:
    with Mosquitto(folder / "broker", settings=SETTINGS) as broker:
        command = [sys.executable, str(PEERS), kind, broker.host, str(broker.port), str(MESSAGES), otlp_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            done = threading.Event()

            def wait() -> None:
                if process.stdout is not None and process.stdout.readline().strip() == "done":
                    done.set()

            threading.Thread(target=wait, daemon=True).start()
            return _measure(process.pid, broker, done)


def _counted(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM message").fetchone()[0]
        return count


def _shim(folder: Path, forward: str | None) -> tuple[float, float]:
    state = folder / "state"
    with Mosquitto(folder / "broker", settings=SETTINGS) as broker:
        command = [
            sys.executable, "-m", "motetrace_host", "run", "--broker", broker.url, "--topic",
            "devices/{device_id}/telemetry", "--state", str(state), "--otlp-listen", f"127.0.0.1:{free_port()}",
            "--log-format", "json",
        ]  # fmt: skip
        if forward:
            command += ["--otlp", forward]
        log_path = folder / "shim.log"
        with log_path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            deadline = time.monotonic() + 20
            while b"subscribed" not in log_path.read_bytes():
                if time.monotonic() > deadline or process.poll() is not None:
                    raise TimeoutError(f"the shim did not subscribe: {log_path.read_text()[-1000:]}")
                time.sleep(0.05)
            done = threading.Event()

            def wait() -> None:
                while _counted(state / "motetrace.db") < MESSAGES and process.poll() is None:
                    time.sleep(0.1)
                done.set()

            threading.Thread(target=wait, daemon=True).start()
            result = _measure(process.pid, broker, done)
            process.terminate()
            process.wait(30)
            return result


def main() -> None:
    """Print the table; the best of three interleaved rounds each."""
    with _sink() as backend:
        subjects = {
            "bare paho subscriber, does nothing": lambda folder: _peer("bare", folder, backend),
            "paho + SDK span per message, OTLP": lambda folder: _peer("sdk", folder, backend),
            "motetrace run, 2 spans, ledger on disk": lambda folder: _shim(folder, None),
            "motetrace run, the same, and OTLP out": lambda folder: _shim(folder, backend),
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        for _ in range(ROUNDS):
            for name, subject in subjects.items():
                with tempfile.TemporaryDirectory() as folder:
                    results[name].append(subject(Path(folder)))
    rates = {name: max(rate for rate, _ in rounds) for name, rounds in results.items()}
    costs = {name: min(cost for _, cost in rounds) for name, rounds in results.items()}
    bare, plain = list(rates)[:2]
    print(
        f"{MESSAGES} QoS 1 messages through mosquitto              msg/s   of bare   of SDK loop   CPU us/msg   of bare"
    )
    for name, rate in rates.items():
        print(
            f"  {name:46} {rate:10.0f} {rate / rates[bare]:9.2f} {rate / rates[plain]:13.2f}"
            f" {costs[name]:12.0f} {costs[name] / costs[bare]:9.2f}"
        )
