"""The device library's sources, as they were installed beside this package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from motetrace_host.board.board_error import BoardError
from motetrace_host.board.modules import ACCELERATOR, PACKAGE


def folder() -> Path:
    """Where the package `motetrace` is; it is found, not imported: it is firmware.

    Raises:
        BoardError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BoardError("the device library is not beside motetrace_host: pip install --force-reinstall motetrace")
    return Path(next(iter(spec.submodule_search_locations)))


def sources() -> dict[str, str]:
    """Module name to source."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder().glob("*.py"))}


def accelerator() -> str:
    """The source of the accelerator, which is beside the package and never in it.

    Raises:
        BoardError: this installation has none.
    """
    path = folder().parent / "accelerator" / f"{ACCELERATOR}.py"
    if not path.is_file():
        raise BoardError(f"this installation has no {path.name}: it is in the repository, in device_lib/accelerator")
    return path.read_text(encoding="utf-8")


def script(name: str) -> str:
    """One of the scripts that are sent to a board: "survey" or "self_test"."""
    return (Path(__file__).resolve().parent.parent / "on_device" / f"{name}.py").read_text(encoding="utf-8")
