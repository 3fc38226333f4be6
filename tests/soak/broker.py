"""The broker: a real mosquitto that keeps everything, and is broken so that only what it promised is asked of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from services import Mosquitto

from tests.waiting import until

_SAVE_LIMIT_S = 30.0
# Every queue is unlimited (services.py has max_queued_messages 0), so that a stalled shim costs memory and no message.
# Why not autosave_on_changes: it writes the whole file at every turn, some MB each when a shim is away.
_SETTINGS = """persistence true
persistence_location {folder}/
autosave_interval 1800
max_queued_bytes 0
max_inflight_bytes 0
"""


class SoakBroker(Mosquitto):
    """Keeps sessions and messages in a file that it writes when told to, and at its end.

    mosquitto acknowledges a publish before it writes it down, so a kill -9 loses what it acknowledged since the last
    save, whoever subscribes. To ask that of the shim would be unfair; so before a kill the fleet holds its breath until
    everything is acknowledged, and the broker saves. What the shim acknowledges after that save is unknown to the new
    broker, which sends it again without DUP.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, settings=_SETTINGS.format(folder=folder.resolve()))
        self._file = folder / "mosquitto.db"

    def save(self) -> None:
        """Have it write its file, and wait until it has."""
        before = self._file.stat().st_ino if self._file.exists() else 0
        self._signal(signal.SIGUSR1)
        until(lambda: self._file.exists() and self._file.stat().st_ino != before, "the broker saves", _SAVE_LIMIT_S)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does: what is sent to it from now on it never sees."""
        self._signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it in good order; it saves, however long that takes."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # it may be frozen
        self._process.wait(60)
        self._process = None

    def warnings(self) -> list[str]:
        """What its log says about messages that it dropped."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if "dropped" in line.lower()]

    def _signal(self, number: signal.Signals) -> None:
        assert self.pid is not None, "the broker runs"
        os.kill(self.pid, number)
