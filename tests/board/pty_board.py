"""A board to try mpremote on: real MicroPython behind a pseudo-terminal, with a file system of its own.

with PtyBoard(64, folder) as board:
    mpremote("connect", board.port, "exec", "print(1)")
"""

import os
import pty
import subprocess
import sys
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

import parts
from services import popen

SCRIPT = Path(__file__).with_name("raw_repl.py")


class PtyBoard:
    """Real MicroPython on a pty; used as a context manager, ended with it.

    Args:
        bits: 64 or 32, the interpreter's word.
        filesystem: a folder that the board sees as "/", or a size such as "64k": a littlefs of that size in RAM.
        heap: of the interpreter, as -X heapsize has it.
    """

    def __init__(self, bits: int, filesystem: Path | str, heap: str = "2m") -> None:
        if isinstance(filesystem, Path):
            (filesystem / "lib").mkdir(parents=True, exist_ok=True)
        board_end, host_end = pty.openpty()
        self._ends = [board_end, host_end]  # both stay open here: the port outlives each mpremote
        tty.setraw(host_end)
        self.port = os.ttyname(host_end)
        environment = {name: value for name, value in os.environ.items() if name != "MICROPYPATH"}
        self._process = popen(
            [*parts.micropython(bits), "-X", f"heapsize={heap}", str(SCRIPT), str(filesystem)],
            stdin=board_end,
            stdout=board_end,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Take the board away: its port is gone."""
        self._process.kill()
        self._process.wait()
        while self._ends:
            os.close(self._ends.pop())


def mpremote(*words: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the real mpremote; neither output nor exit code is judged here."""
    return subprocess.run(
        [sys.executable, "-m", "mpremote", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
