"""Serving one board, and printing line by line what is found and done; each function returns the exit code.

Raises:
    BoardError: from each: the board could not be served.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from motetrace_host.board import install, modules, plan, self_test
from motetrace_host.board.board_error import BoardError
from motetrace_host.board.edges import device_library, drive, mpremote
from motetrace_host.board.known_boards import CIRCUITPYTHON, KnownBoard
from motetrace_host.board.plan import Plan
from motetrace_host.board.self_test import SelfTest
from motetrace_host.board.survey import Survey

WORKS = 0
FAILED = 1
_LABEL_WIDTH = 15


def install_over_port(
    port: str | None, known: KnownBoard | None, wanted: Sequence[str], form: str | None, dry: bool
) -> int:
    """Copy through mpremote, then import on the board and run the self-test there."""
    plan.must_exist(wanted)
    chosen, there = install.over_port(port, install.ask)
    _line("board", f"{there.machine}, {there.system} {there.version}, on {chosen}")
    _must_be(known, there.machine)
    if there.system == CIRCUITPYTHON:
        raise BoardError("this is CircuitPython: its files go over its drive, --drive PATH")
    what = plan.for_micropython(there, wanted, form)
    _show(what, there)
    what.must_fit()
    if dry:
        _line("dry run", "nothing was copied")
        return WORKS
    began = time.monotonic()
    install.over_port(chosen, lambda port: mpremote.copy(port, what.target, what.bundle.files, what.bundle.stale))
    _line("copied", f"in {time.monotonic() - began:.1f} s")
    _, said = install.over_port(chosen, lambda port: install.check(port, what.asked))
    code = _report(said)
    if reason := install.not_used(what, said):
        raise BoardError(reason)
    return code


def install_over_drive(
    path: Path | None, port: str | None, known: KnownBoard | None, wanted: Sequence[str], form: str | None, dry: bool
) -> int:
    """Copy onto a CircuitPython drive; with a port, run the self-test over that."""
    plan.must_exist(wanted)
    path = path or _mounted()
    identity = drive.identity(path)
    _line("board", f"{identity}, on {path}")
    _must_be(known, identity)
    what = plan.for_drive(path, wanted, form)
    _show(what, None)
    what.must_fit()
    if dry:
        _line("dry run", "nothing was copied")
        return WORKS
    drive.copy(path, what.target, what.bundle.files, what.bundle.stale)
    _line("copied", "and written through; the board reloads its code by itself")
    if not port:
        _line("self-test", "not run: motetrace device check runs it over the board's serial port")
        return WORKS
    _, said = install.over_port(port, lambda port: install.check(port, what.asked))
    return _report(said)


def check_over_port(port: str | None, wanted: Sequence[str]) -> int:
    """Run the self-test on a board that has the library."""
    plan.must_exist(wanted)
    asked = modules.closure(device_library.sources(), [name for name in wanted if name != plan.FAST])
    _, said = install.over_port(port, lambda chosen: install.check(chosen, asked))
    code = _report(said)
    if plan.FAST in wanted and not said.fast:
        raise BoardError(f"{modules.ACCELERATOR} is not in use: motetrace device install --with {plan.FAST}")
    return code


def _mounted() -> Path:
    found = drive.mounted()
    if len(found) == 1:
        return found[0]
    what = f"several {drive.LABEL} drives are mounted" if found else f"no {drive.LABEL} drive is mounted"
    raise BoardError("".join([f"{what}; say which with --drive PATH", *(f"\n  --drive {path}" for path in found)]))


def _must_be(known: KnownBoard | None, machine: str) -> None:
    if known and not known.is_one(machine):
        raise BoardError(f"--board {known.name} was asked for, and this is {machine!r}; nothing was copied")


def _show(what: Plan, there: Survey | None) -> None:
    _line("copies", f"to {what.target}: {len(what.bundle.files)} files as .{what.form}")
    for name, content in what.bundle.files.items():
        click.echo(f"{'':{_LABEL_WIDTH}} {name:30} {len(content):6} bytes")
    if what.kept:
        _line("renews", f"{', '.join(what.kept)}: on the board already")
    if what.bundle.stale:
        _line("removes", f"{', '.join(what.bundle.stale)}: would be imported instead, or too")
    _line("flash", f"{what.bundle.size_bytes} bytes, in whole blocks {what.flash_bytes}; {what.room_bytes} are free")
    if there and what.form == plan.PY and there.mpy_version:
        _line("", "compiled (--mpy) it takes less than half of that")


def _report(said: SelfTest) -> int:
    for label, value in self_test.lines(said):
        _line(label, value)
    for where in install.missing_clients(said):
        _line("to get", where)
    return WORKS if said.passed else FAILED


def _line(label: str, value: str) -> None:
    click.echo(f"{label:{_LABEL_WIDTH}} {value}")
