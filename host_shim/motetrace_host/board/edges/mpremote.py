"""mpremote, run as the program it is: its command line is stable, its Python is not (it says so itself)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from motetrace_host.board.board_error import BoardError

REMEDY = "pip install 'motetrace[device]' (or: pip install mpremote)"
ANSWER_LIMIT_S = 60.0
COPY_LIMIT_S = 600.0
_GONE = ("timeout waiting for", "SerialException", "could not exec command", "Input/output error", "ClearCommError")


class PortRefusedError(BoardError):
    """The port could not be opened."""


class SilentBoardError(BoardError):
    """The port was opened and no MicroPython prompt came; `said` is what came instead."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class FailedOnBoardError(BoardError):
    """What was run on the board raised; the message is its traceback, or mpremote's own words."""


def require() -> None:
    """Raise BoardError with the remedy when mpremote is not installed."""
    if importlib.util.find_spec("mpremote") is None:
        raise BoardError(f"mpremote is not installed, which talks to boards: {REMEDY}")


def run_script(port: str, script: str, before: str = "pass") -> str:
    """Soft-reset the board, execute `before` and then a script on it; return what they printed.

    Raises:
        PortRefusedError, SilentBoardError, FailedOnBoardError: as named.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.py"
        path.write_text(script, encoding="utf-8")
        return _mpremote(port, ["exec", before, "run", str(path)], ANSWER_LIMIT_S)


def copy(port: str, target: str, files: Mapping[str, bytes], stale: Sequence[str]) -> None:
    """Write files into the folder `target` of the board, after removing `stale` from it; folders are made.

    Raises:
        PortRefusedError, SilentBoardError, FailedOnBoardError: as named.
    """
    folders = sorted({f"{target}/{name}".rpartition("/")[0] for name in files} | {target})
    prepare = [
        "import os",
        "def make(path):",
        " try: os.mkdir(path)",
        " except OSError: pass",
        *(f"make({folder!r})" for folder in folders),
        *(f"os.remove({f'{target}/{name}'!r})" for name in stale),
    ]
    words = ["exec", "\n".join(prepare)]
    with tempfile.TemporaryDirectory() as here:
        for folder in folders:
            if paths := _put(Path(here), target, folder, files):
                words += ["fs", "cp", *paths, f":{folder}/", "+"]
        _mpremote(port, words[:-1], COPY_LIMIT_S)


def _put(here: Path, target: str, folder: str, files: Mapping[str, bytes]) -> list[str]:
    """Write those files that belong into one folder of the board into one of ours; return their paths."""
    paths = []
    for name, content in files.items():
        if f"{target}/{name}".rpartition("/")[0] == folder:
            path = here / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            paths.append(str(path))
    return paths


def _mpremote(port: str, words: Sequence[str], limit_s: float) -> str:
    command = [sys.executable, "-m", "mpremote", "connect", port, *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise SilentBoardError(_tail(error.stdout)) from error
    if done.returncode == 0:
        return done.stdout
    raise fault(done.stdout, done.stderr)


def fault(output: str, complaint: str) -> BoardError:
    """What a failed run of mpremote 1.29 means, by its words on standard output and standard error."""
    complaint = complaint.strip()
    if "failed to access" in complaint or "no device" in complaint:
        return PortRefusedError(complaint)
    if "could not enter raw repl" in complaint + output:
        return SilentBoardError(_tail(output))
    if any(words in complaint for words in _GONE):
        return FailedOnBoardError(
            "the board stopped answering in mid-work: unplugged, out of power, or reset by a watchdog that its program "
            "had started. Run this command again, right after a power-on: what was half copied is copied anew"
        )
    return FailedOnBoardError((output.strip() + "\n" + complaint).strip()[-2000:])


def _tail(output: str | bytes | None) -> str:
    if isinstance(output, bytes):
        output = output.decode(errors="replace")
    return (output or "").strip()[-200:]
