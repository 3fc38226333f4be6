"""The server of the shared ledger: a real Valkey that writes every change down before it answers."""

from __future__ import annotations

import os
import signal
import time

from services import Valkey


class SoakValkey(Valkey):
    """With appendfsync always, so that a kill -9 loses nothing that it answered."""

    def stall(self, seconds: float) -> None:
        """Let it answer nobody for a while."""
        assert self.pid is not None, "Valkey runs"
        os.kill(self.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(self.pid, signal.SIGCONT)
