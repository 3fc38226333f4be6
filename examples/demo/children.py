"""The demo's processes: started with a log each, watched, and stopped in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_S = 10
TAIL_LINES = 15


class ChildFailed(RuntimeError):
    """A process ended or did not come up; the message holds the end of its log, and where the rest is."""


class Child:
    """One running process. What it writes is in `log`, but for lines of its standard output that `on_line` takes.

    Args:
        on_line: is given each line of standard output, in a thread; returns True to keep it out of the log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], bool] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.stopped = False
        self._reader: threading.Thread | None = None
        with log.open("wb") as file:
            # A session of its own: Ctrl-C reaches the orchestrator alone, which stops the others in order.
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if on_line else file,
                stderr=file,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        if on_line:
            self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
            self._reader.start()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return when `ready()` is true.

        Raises:
            ChildFailed: the process ended first, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise self.failed(f"ended with exit status {self.process.returncode}")
            if time.monotonic() > deadline:
                raise self.failed(f"was not ready after {timeout_s:.0f} s")
            time.sleep(0.02)

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the process: SIGTERM, and SIGKILL when that takes too long; returns when all its output is read."""
        if self.running:
            self.stopped = True
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.finish()

    def finish(self) -> int:
        """Wait for a process that ends by itself and for the last line of its output; returns its exit status."""
        status = self.process.wait()
        if self._reader is not None:
            self._reader.join(STOP_S)
        return status

    def failed(self, what: str) -> ChildFailed:
        """An exception that says what happened, with the end of the log."""
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return ChildFailed("\n    ".join([f"{self.name} {what}; the end of {self.log}:", *tail]))

    def _read(self, on_line: Callable[[str], bool]) -> None:
        stream = self.process.stdout
        if stream is None:
            return
        with stream, self.log.open("ab") as log:
            for line in stream:
                if not on_line(line.decode(errors="replace").rstrip("\n")):
                    log.write(line)
                    log.flush()


class Children:
    """All processes of one demo; leaving the `with` stops those that still run, the last started first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._all: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], bool] | None = None,
    ) -> Child:
        child = Child(name, command, self._logs / f"{name}.log", env, on_line)
        self._all.append(child)
        return child

    def check(self, expected_to_end: Sequence[Child] = ()) -> None:
        """Raise ChildFailed when one ended by itself that should be running, or any with a status other than 0."""
        for child in self._all:
            status = child.process.poll()
            if status is not None and not child.stopped and (status or child not in expected_to_end):
                raise child.failed(f"ended with exit status {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        for child in reversed(self._all):
            if child.running:
                child.process.terminate()
        for child in reversed(self._all):
            child.stop(5)
