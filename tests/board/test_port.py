"""Which port: absent, busy, ambiguous, silent; each says what to do."""

import os
import pty
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from services import popen

from motetrace_host.board import port
from motetrace_host.board.edges import mpremote, serial_ports
from motetrace_host.board.port import Candidate, NoBoardError
from tests.board.pty_board import PtyBoard

TWO = [Candidate("/dev/ttyACM0", "Board in FS mode (2e8a:0005)"), Candidate("/dev/ttyUSB0", "CP2102N (10c4:ea60)")]
HOLD = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True); sys.stdin.read()"


@pytest.fixture
def held() -> Iterator[Callable[[str], int]]:
    """Another program that keeps a port open; returns its process id."""
    running = []

    def hold(name: str) -> int:
        process = popen([sys.executable, "-c", HOLD, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process.pid

    yield hold
    for process in running:
        process.communicate()


@pytest.mark.parametrize("words", [["install"], ["check"]])
def test_several_boards_are_listed_as_options_to_type(
    monkeypatch: pytest.MonkeyPatch, motetrace_device: Callable[..., Result], words: list[str]
) -> None:
    monkeypatch.setattr(serial_ports, "candidates", lambda: TWO)
    result = motetrace_device(*words)
    assert result.exit_code == 2
    assert "2 boards may be meant" in result.output
    assert "  --port /dev/ttyACM0   Board in FS mode (2e8a:0005)\n  --port /dev/ttyUSB0   CP2102N" in result.output


def test_no_board_says_what_to_look_at(
    monkeypatch: pytest.MonkeyPatch, motetrace_device: Callable[..., Result]
) -> None:
    monkeypatch.setattr(serial_ports, "candidates", list)
    result = motetrace_device("check")
    assert result.exit_code == 2
    assert "no board found" in result.output and "cable that carries data" in result.output


def test_an_absent_port_is_told_from_a_busy_one_and_others_are_offered(
    monkeypatch: pytest.MonkeyPatch, motetrace_device: Callable[..., Result]
) -> None:
    monkeypatch.setattr(serial_ports, "candidates", lambda: TWO[:1])
    result = motetrace_device("check", "--port", "/dev/ttyACM77")
    assert result.exit_code == 2
    assert "/dev/ttyACM77 is absent" in result.output and "--port /dev/ttyACM0" in result.output


def test_a_busy_port_names_the_program_that_has_it(
    board: PtyBoard, held: Callable[[str], int], motetrace_device: Callable[..., Result]
) -> None:
    process_id = held(board.port)
    result = motetrace_device("check", "--port", board.port)
    assert result.exit_code == 2
    assert f"{board.port} is busy" in result.output
    assert f"(process {process_id})" in result.output


def test_a_port_that_may_not_be_opened_says_which_group() -> None:
    error = port.refused("/dev/ttyACM0", exists=True, permitted=False, holders=[], candidates=[])
    assert "dialout" in str(error)


def test_what_was_asked_for_is_used_even_when_it_is_no_candidate() -> None:
    assert port.choose(TWO, "rfc2217://lab:4000") == "rfc2217://lab:4000"
    with pytest.raises(NoBoardError):
        port.choose([], None)


@pytest.mark.slow
def test_a_port_without_micropython_behind_it_says_what_that_may_be(motetrace_device: Callable[..., Result]) -> None:
    far, near = pty.openpty()
    try:
        tty.setraw(near)
        result = motetrace_device("check", "--port", os.ttyname(near))
    finally:
        os.close(far)
        os.close(near)
    assert result.exit_code == 2
    assert "does not answer as MicroPython does" in result.output and "reset button" in result.output


@pytest.mark.parametrize(
    ("output", "complaint", "kind", "words"),
    [
        (
            "",
            "mpremote: failed to access /dev/ttyACM0 (it may be in use by another program)",
            "PortRefused",
            "failed to",
        ),
        ("b'garbage'\n", "...TransportError: could not enter raw repl", "SilentBoard", "garbage"),
        ("", "...TransportError: timeout waiting for first EOF reception", "FailedOnBoard", "stopped answering"),
        ("", "serial.serialutil.SerialException: device reports readiness to read but", "FailedOnBoard", "watchdog"),
        ("Traceback (most recent call last):\nOSError: 28\n", "", "FailedOnBoard", "OSError: 28"),
    ],
)
def test_what_mpremote_says_is_told_apart(output: str, complaint: str, kind: str, words: str) -> None:
    error = mpremote.fault(output, complaint)
    assert type(error).__name__ == f"{kind}Error" and words in str(error)


def test_a_board_that_is_unplugged_between_two_steps_is_told(
    board: PtyBoard, motetrace_device: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = mpremote.copy

    def copy_and_unplug(*words: Any) -> None:
        copy(*words)
        board.unplug()

    monkeypatch.setattr(mpremote, "copy", copy_and_unplug)
    result = motetrace_device("install", "--port", board.port)
    assert result.exit_code == 2 and f"{board.port} is absent" in result.output


def test_candidates_are_looked_for_without_a_board_too() -> None:
    assert all(Path(found.port).exists() for found in serial_ports.candidates())
