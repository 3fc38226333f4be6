"""A script that plays a stage in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import Mosquitto, popen


@contextmanager
def running(script: Path, role: str, broker: Mosquitto, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start it with its role, the broker's port and where it notes what it did; it says "ready" when it is."""
    command = [sys.executable, str(script), role, str(broker.port), str(log)]
    with popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
