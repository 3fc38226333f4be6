"""What is compared: subscribers of their own processes, each told where the broker is and watched until it is done."""

import contextlib
import http.server
import os
import sqlite3
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from services import free_port

PEERS = Path(__file__).with_name("peers.py")
LIMIT_S = 180.0
TOPIC = "devices/{device_id}/telemetry"


class _Sink(http.server.BaseHTTPRequestHandler):
    """An OTLP backend that takes everything and does nothing, so that only the sender's cost shows."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Run the backend; gives its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Subject(ABC):
    """A subscriber in a process of its own.

    Args:
        name: for the table.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def start(self, port: int, folder: Path, messages: int, backend: str) -> subprocess.Popen[str]:
        """Start it and wait until it has subscribed."""

    @abstractmethod
    def wait(self, process: subprocess.Popen[str], folder: Path, messages: int) -> None:
        """Wait until it has done all its work, beyond acknowledging."""


class Peer(Subject):
    """A paho program of peers.py: `kind` is bare, sdk or sdk1 (1 % sampled)."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(name)
        self._kind = kind

    def start(self, port: int, folder: Path, messages: int, backend: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(PEERS), self._kind, "127.0.0.1", str(port), str(messages), backend]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def wait(self, process: subprocess.Popen[str], folder: Path, messages: int) -> None:
        assert process.stdout is not None
        process.stdout.readline()


class Shim(Subject):
    """`motetrace run` with some options.

    Args:
        sends: it is done when the backend has all its spans.
        options: beside broker, topic and state.
    """

    def __init__(self, name: str, *options: str, sends: bool = False) -> None:
        super().__init__(name)
        self._options = options
        self._sends = sends

    def start(self, port: int, folder: Path, messages: int, backend: str) -> subprocess.Popen[str]:
        command = [
            sys.executable, "-m", "motetrace_host", "run", "--broker", f"mqtt://127.0.0.1:{port}", "--topic", TOPIC,
            "--state", str(folder / "state"), "--otlp-listen", f"127.0.0.1:{free_port()}", "--log-format", "json",
            "--receive-maximum", "10000", "--queue", "50000", "--max-messages", "100000000",
            "--tenant", folder.name,  # a fleet of its own each time, also where the ledger is shared
            *self._options,
        ]  # fmt: skip
        if self._sends:
            command += ["--otlp", backend]
        log_path = folder / "shim.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        deadline = time.monotonic() + 20
        while b'"subscribed"' not in log_path.read_bytes():
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(f"the shim did not subscribe: {log_path.read_text()[-1000:]}")
            time.sleep(0.05)
        return process

    def wait(self, process: subprocess.Popen[str], folder: Path, messages: int) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not self._done(folder, messages):
            if time.monotonic() > deadline or process.poll() is not None:
                raise TimeoutError(f"not done within {LIMIT_S:.0f} s: {(folder / 'shim.log').read_text()[-1000:]}")
            time.sleep(0.1)

    def _done(self, folder: Path, messages: int) -> bool:
        path = folder / "state" / "motetrace.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT sum(messages) FROM message_block").fetchone()[0] != messages:
                return False
            if not self._sends:
                return True
            last = connection.execute("SELECT max(id) FROM message_block").fetchone()
            return bool(connection.execute("SELECT block_upto FROM forward_cursor").fetchone() == last)
