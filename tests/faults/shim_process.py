"""A real shim as a process of its own, to be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from services import popen

from tests import tables
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "devices/{device_id}/telemetry"


class ShimProcess:
    """`motetrace run` on one state folder; start it as often as you like."""

    def __init__(self, broker_port: int, state: Path, *options: str, topic: str = TOPIC) -> None:
        self.state = state
        self.log_path = state.with_name(state.name + ".log")
        self._command = [
            sys.executable, "-m", "motetrace_host", "run", "--broker", f"mqtt://127.0.0.1:{broker_port}",
            "--topic", topic, "--state", str(state), "--log-format", "json", "--otlp-listen", "off", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    def start(self) -> "ShimProcess":
        """Start it and wait until it has subscribed."""
        self.launch()
        until(lambda: self.logged("subscribed") or not self.running, "the shim subscribes")
        assert self.running, self.log_path.read_text()
        return self

    def launch(self) -> None:
        """Start it."""
        self._log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MOTETRACE_")}
        # What is on it already may be another paho than the one that is installed: tests/other_paho.py.
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "host_shim"), environment.get("PYTHONPATH", "")])
        with self.log_path.open("ab") as log:
            self._process = popen(self._command, stdout=log, stderr=log, env=environment)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self, limit_s: float = 60.0) -> int:
        """SIGTERM; gives the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait(limit_s)

    def leave(self, limit_s: float = 60.0) -> int:
        """`motetrace leave` in place of the `run` that ended; gives the exit code."""
        run = self._command.index("run")
        command, self._command = self._command, [*self._command[:run], "leave", *self._command[run + 1 :]]
        self.launch()
        self._command = command
        return self.wait(limit_s)

    def wait(self, limit_s: float = 60.0) -> int:
        """Wait for its end; gives the exit code."""
        assert self._process is not None
        return self._process.wait(limit_s)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of an event since the last start."""
        if not self.log_path.exists():
            return []
        found = []
        for line in self.log_path.read_bytes()[self._log_from :].splitlines():
            with contextlib.suppress(ValueError):
                fields = json.loads(line)
                if fields.get("event") == event:
                    found.append(fields)
        return found

    def query(self, statement: str, *values: object) -> list[Any]:
        """Ask its database; see tests/tables.py."""
        return tables.query(self.state / "motetrace.db", statement, *values)

    def count(self, table: str) -> int:
        """Rows of a table."""
        if table == "message":
            return tables.messages(self.state / "motetrace.db")
        rows = self.query(f"SELECT count(*) FROM {table}")
        return int(rows[0][0]) if rows else 0
