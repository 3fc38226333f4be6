"""pyserial and the operating system: which serial ports there are, and who has one open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from motetrace_host.board.port import Candidate

_FROM_ELSEWHERE = ("id:", "rfc2217:", "socket:", "port:")


def candidates() -> list[Candidate]:
    """Ports on USB, where boards are; comes with mpremote."""
    from serial.tools import list_ports

    return [
        Candidate(found.device, f"{found.product or found.description} ({found.vid:04x}:{found.pid:04x})")
        for found in sorted(list_ports.comports())
        if found.vid is not None and found.pid is not None
    ]


def exists(port: str) -> bool:
    """Whether it is there; ports that are no files here are taken to be."""
    return port.startswith(_FROM_ELSEWHERE) or not port.startswith("/") or Path(port).exists()


def permitted(port: str) -> bool:
    """Whether this user may read and write it."""
    return not port.startswith("/") or os.access(port, os.R_OK | os.W_OK)


def holders(port: str) -> list[str]:
    """Programs that have it open, as far as this user may see: Linux only, elsewhere none."""
    if not Path(port).exists() or not Path("/proc/self/fd").exists():
        return []
    device = Path(port).stat().st_rdev
    return sorted({name for name, opened in _open_devices() if opened == device})


def _open_devices() -> Iterator[tuple[str, int]]:
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            name = f"{(process / 'comm').read_text().strip()} (process {process.name})"
            for opened in (process / "fd").iterdir():
                yield name, opened.stat().st_rdev
        except OSError:
            continue
