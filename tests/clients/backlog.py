"""How much a frozen broker has not read yet, from the kernel: so a test knows when a client is stuck in a write."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from services import Mosquitto

LIMIT_S = 60.0
ESTABLISHED = "01"


def unread_bytes(port: int) -> int:
    """Bytes in the receive queues of all connections to a port of 127.0.0.1.

    The kernel may list a connection twice when others come and go while its table is read in parts.
    """
    waiting: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}") and words[3] == ESTABLISHED:
            waiting[words[2]] = int(words[4].partition(":")[2], 16)
    return sum(waiting.values())


def wait_until_unread(port: int, at_least: int) -> None:
    """Return when that much waits to be read."""
    deadline = time.monotonic() + LIMIT_S
    while (found := unread_bytes(port)) < at_least:
        assert time.monotonic() < deadline, f"{found} bytes are unread, not {at_least}"
        time.sleep(0.005)


@contextlib.contextmanager
def frozen(broker: Mosquitto) -> Iterator[None]:
    """The broker stopped as by a debugger: connections stay, nothing is read, nothing answered."""
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
