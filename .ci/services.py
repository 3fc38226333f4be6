"""Starts the real broker and the real database on loopback, each with a folder of its own, and stops them again.

    with Mosquitto(folder) as broker:      # also Influxd(folder), Valkey(folder)
        connect(broker.host, broker.port)

Used by tests (the fixtures `mosquitto` and `influxd`; `valkey` in tests/host/ledger) and by the demo. Put `.ci` on
sys.path to import it, as for parts.py.
"""

import contextlib
import ctypes
import getpass
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import parts

START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
POLL_S = 0.005
PORT_TRIES = 5


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def popen(command: Sequence[str | os.PathLike[str]], **options: Any) -> "subprocess.Popen[Any]":
    """`subprocess.Popen` of a process that ends when this one does, however this one ends (on Linux; SIGKILL).

    A run of the tests that is killed must leave nothing behind: a MicroPython at a pseudo-terminal whose other side is
    gone would turn at full speed for ever.
    """
    # Linux sends the signal when the thread ends that started the child, so other threads start theirs without it.
    tied = _libc is not None and threading.current_thread() is threading.main_thread()
    return subprocess.Popen(command, preexec_fn=_end_with_parent if tied else None, **options)


def _end_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class ServiceError(RuntimeError):
    """A service did not come up or died; the message ends with its own last words."""


class Service(ABC):
    """One process that listens on a port of 127.0.0.1.

    Args:
        folder: for configuration, data and log; made when missing.
        port: 1..65535, or 0 for any free one (chosen at the first start and kept over restarts).
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / f"{type(self).__name__.lower()}.log"
        self._chosen = port != 0
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """Write the configuration for `self.port` and return the words that start the service."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the service can be used now; raises OSError for "not yet" too."""

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            ServiceError: it ended, or did not answer within 60 s. parts.PartError: the program is not to be had.
        """
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(PORT_TRIES):
            if not self._chosen:
                self.port = free_port()
            try:
                self._start_once()
            except ServiceError:
                # Between choosing a free port and using it, another process may have taken it.
                if self._chosen or attempt == PORT_TRIES - 1 or "in use" not in self.last_words():
                    raise
            else:
                self._chosen = True
                return

    def stop(self) -> None:
        """End it in good order (SIGTERM; SIGKILL after 10 s); nothing to do when it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start, on the same port and with the same folder."""
        self.stop()
        self.start()

    def last_words(self) -> str:
        """The end of its log, at most 2,000 characters."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_once(self) -> None:
        with self.log.open("ab") as log:
            self._process = popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if self._answers() and self._process.poll() is None:
                    return
            time.sleep(POLL_S)
        code = self._process.poll()
        self.kill()
        end = (
            f"did not answer on port {self.port} within {START_LIMIT_S:.0f} s"
            if code is None
            else f"ended with exit code {code}"
        )
        raise ServiceError(f"{type(self).__name__} {end}; its log {self.log} ends:\n{self.last_words()}")


class Mosquitto(Service):
    """The MQTT broker.

    Args:
        persistent: keep sessions and queued messages over restarts and kill -9 (clients must use Clean Start 0).
        settings: further lines of mosquitto.conf, after ours.
    """

    def __init__(self, folder: Path, port: int = 0, *, persistent: bool = False, settings: str = "") -> None:
        super().__init__(folder, port)
        self._persistent = persistent
        self._settings = settings

    @property
    def url(self) -> str:
        """For `motetrace run --broker`."""
        return f"mqtt://{self.host}:{self.port}"

    def _command(self) -> list[str]:
        lines = [
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
        ]
        if os.geteuid() == 0:
            # As root it would give up its rights for a user that cannot write into our folder, or that does not exist.
            lines.append(f"user {getpass.getuser()}")
        if self._persistent:
            lines += ["persistence true", f"persistence_location {self.folder.resolve()}/"]
            lines += ["autosave_on_changes true", "autosave_interval 1"]
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join([*lines, self._settings]) + "\n")
        return [*parts.mosquitto(), "-c", str(configuration)]

    def _answers(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=1):
            return True


class Influxd(Service):
    """The time-series database, InfluxDB 1.x."""

    @property
    def url(self) -> str:
        """For HTTP: `/write?db=`, `/query?db=&q=`."""
        return f"http://{self.host}:{self.port}"

    def _command(self) -> list[str]:
        data = self.folder.resolve()
        configuration = self.folder / "influxdb.conf"
        configuration.write_text(
            f"""reporting-disabled = true
bind-address = "{self.host}:0"
[meta]
dir = "{data}/meta"
[data]
dir = "{data}/data"
wal-dir = "{data}/wal"
query-log-enabled = false
[http]
bind-address = "{self.host}:{self.port}"
log-enabled = false
[monitor]
store-enabled = false
[logging]
level = "warn"
"""
        )
        return [*parts.influxd(), "run", "-config", str(configuration)]

    def _answers(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=1) as connection:
            connection.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
            return b" 204 " in connection.recv(64)


class Valkey(Service):
    """The shared ledger's server, Valkey or Redis, that writes every change to its append-only file.

    Args:
        fsync: appendfsync: `always`, as a ledger that must survive a power cut wants it, or `everysec`.
    """

    def __init__(self, folder: Path, port: int = 0, *, fsync: str = "always") -> None:
        super().__init__(folder, port)
        self._fsync = fsync

    @property
    def url(self) -> str:
        """For `redis.Redis.from_url`."""
        return f"redis://{self.host}:{self.port}/0"

    def _command(self) -> list[str]:
        configuration = self.folder / "valkey.conf"
        configuration.write_text(
            f"""bind {self.host}
port {self.port}
dir "{self.folder.resolve()}"
appendonly yes
appendfsync {self._fsync}
save ""
daemonize no
maxmemory-policy noeviction
"""
        )
        return [*parts.valkey(), str(configuration)]

    def _answers(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")  # "-LOADING" while it reads its file


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
