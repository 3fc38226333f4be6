"""One `motetrace run`, started again whenever it ends, as systemd would."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services import popen

from tests.faults.shim_process import ROOT
from tests.soak import disk
from tests.soak.disk import FileSystem

_CLOCK = Path(__file__).with_name("stepped_clock")
_TERM_LIMIT_S = 45.0  # draining 10 s, disconnecting 5 s, sending spans 5 s, and a loaded machine
_OFFSET = struct.Struct("<q")


class OwnEnd(NamedTuple):
    """A shim ended untold: at which second of the soak, with which code, and whether its disk was full in its life."""

    second: float
    code: int
    disk_full: bool


class SoakShim:
    """A shim on one state folder.

    Its log comes through a pipe and not into a file of its own: the limit that makes its disk full (tests/soak/disk.py)
    holds for every file it writes.

    Attributes:
        own_ends: each time that it ended untold.
        bad_ends: what went wrong when it was told to end.
        starts: how often it was started.
    """

    def __init__(self, name: str, folder: Path, options: Sequence[str], began: float) -> None:
        self.name = name
        self.state = folder / name
        self.log_path = folder / f"{name}.log"
        self.own_ends: list[OwnEnd] = []
        self.bad_ends: list[str] = []
        self.starts = 0
        self._began = began
        self._command = [sys.executable, "-m", "motetrace_host", "run", "--state", str(self.state), *options]
        self._clock_path = folder / f"{name}.clock"
        self._clock_path.write_bytes(_OFFSET.pack(0))
        self._files = FileSystem(self.state)
        self._most_bytes: int | None = None
        self._full = self._met_full = False
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False
        self._log_from = 0
        self._lock = threading.RLock()

    def start(self) -> None:
        """Start it."""
        with self._lock:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("MOTETRACE_")}
            environment["PYTHONPATH"] = os.pathsep.join((str(_CLOCK), str(ROOT / "host_shim")))
            environment["STEPPED_CLOCK"] = str(self._clock_path)
            self._process = popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
            self._told = False
            self._log_from = len(self.log())
            self._met_full = self._full
            self.starts += 1
            self._limit()
            threading.Thread(target=self._keep_log, args=(self._process,), daemon=True).start()

    def kill(self) -> None:
        """SIGKILL."""
        with self._lock:
            self._told = True
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def terminate(self) -> None:
        """SIGTERM, and wait for its end."""
        with self._lock:
            self._told = True
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            code = process.wait(_TERM_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.bad_ends.append(f"{self.name} did not end within {_TERM_LIMIT_S:.0f} s of SIGTERM at {self._now()} s")
            self.kill()
            return
        # Before its first line it has no handler yet, and nothing to end in good order.
        early = code == -signal.SIGTERM and '"started"' not in self.log()[self._log_from :]
        if code and not early:
            self.bad_ends.append(f"{self.name} ended with {code} after SIGTERM at {self._now()} s")

    def stall(self, seconds: float) -> None:
        """SIGSTOP for a while."""
        with self._lock:
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def prepare(self) -> None:
        """Make its folder."""
        self._files.mount()

    def fill_disk(self, spare_bytes: int, *, whole: bool) -> None:
        """Leave no room, on its file system (`whole`, where it has one of its own) or for each of its files."""
        with self._lock:
            self._full = self._met_full = True
            if whole and self._files.mounted:
                self._files.shrink(spare_bytes)
            else:
                self._most_bytes = spare_bytes
                self._limit()

    def free_disk(self) -> None:
        """There is room again."""
        with self._lock:
            self._full, self._most_bytes = False, None
            if self._files.mounted:
                self._files.grow()
            self._limit()

    def clear(self, keep_in: Path | None) -> None:
        """End it and its file system; `keep_in`: where a copy of its folder goes."""
        self.kill()
        if self._files.mounted and keep_in is not None:
            shutil.copytree(self.state, keep_in / f"{self.name}-kept")
        self._files.unmount()

    def step_clock(self, seconds: int) -> None:
        """Move its wall clock, at once."""
        with self._clock_path.open("r+b") as file:
            (offset_ns,) = _OFFSET.unpack(file.read(8))
            file.seek(0)
            file.write(_OFFSET.pack(offset_ns + seconds * 1_000_000_000))

    def look_after(self) -> None:
        """Start it again when it ended by itself."""
        with self._lock:
            code = self._process.poll() if self._process is not None and not self._told else None
            if code is not None:
                self.own_ends.append(OwnEnd(self._now(), code, self._met_full))
                self.start()

    def log(self) -> str:
        """Everything it said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _limit(self) -> None:
        if self._process is not None and self._process.poll() is None:
            disk.limit_files(self._process.pid, self._most_bytes)

    def _keep_log(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self.log_path.open("ab") as log, process.stdout as lines:
            for line in lines:
                log.write(line)
                log.flush()
