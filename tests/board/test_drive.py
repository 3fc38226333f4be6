"""Copying onto a CIRCUITPY drive; here a folder with what such a drive has."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from motetrace_host.board.edges import drive
from tests.board.pty_board import PtyBoard

IDENTITY = "Adafruit CircuitPython 10.0.3 on 2025-10-17; Raspberry Pi Pico W with rp2040"
Command = Callable[..., Result]


@pytest.fixture
def circuitpy(tmp_path: Path) -> Path:
    path = tmp_path / "CIRCUITPY"
    (path / "lib").mkdir(parents=True)
    (path / "boot_out.txt").write_text(IDENTITY + "\nBoard ID:raspberry_pi_pico_w\n")
    return path


def test_the_library_and_an_extra_are_copied_as_sources(circuitpy: Path, motetrace_device: Command) -> None:
    result = motetrace_device("install", "--drive", circuitpy, "--with", "minimqtt")
    assert result.exit_code == 0, result.output
    assert IDENTITY in result.output
    names = {path.name for path in (circuitpy / "lib" / "motetrace").iterdir()}
    assert {"__init__.py", "tracer.py", "minimqtt.py"} <= names
    assert all(name.endswith(".py") for name in names)


def test_a_dry_run_copies_nothing(circuitpy: Path, motetrace_device: Command) -> None:
    result = motetrace_device("install", "--drive", circuitpy, "--dry-run")
    assert result.exit_code == 0 and "nothing was copied" in result.output
    assert not (circuitpy / "lib" / "motetrace").exists()


def test_files_of_an_older_compiled_copy_go(circuitpy: Path, motetrace_device: Command) -> None:
    (circuitpy / "lib" / "motetrace").mkdir()
    (circuitpy / "lib" / "motetrace" / "tracer.mpy").write_bytes(b"C\x06")
    assert motetrace_device("install", "--drive", circuitpy).exit_code == 0
    assert not (circuitpy / "lib" / "motetrace" / "tracer.mpy").exists()


def test_a_client_that_circuitpython_cannot_run_is_refused_with_those_it_can(
    circuitpy: Path, motetrace_device: Command
) -> None:
    result = motetrace_device("install", "--drive", circuitpy, "--with", "mqtt5")
    assert result.exit_code == 2
    assert "not for CircuitPython" in result.output and "umqtt.simple2" in result.output
    assert "minimqtt" in result.output
    assert not (circuitpy / "lib" / "motetrace").exists()


def test_mpy_is_refused_with_the_reason(circuitpy: Path, motetrace_device: Command) -> None:
    result = motetrace_device("install", "--drive", circuitpy, "--mpy")
    assert result.exit_code == 2 and "does not load MicroPython's .mpy" in result.output


def test_a_folder_that_is_no_such_drive_is_refused(tmp_path: Path, motetrace_device: Command) -> None:
    result = motetrace_device("install", "--drive", tmp_path)
    assert result.exit_code == 2 and "no CircuitPython drive" in result.output


def test_the_wrong_board_is_refused(circuitpy: Path, motetrace_device: Command) -> None:
    result = motetrace_device("install", "--drive", circuitpy, "--board", "circuitpython-esp32-s3")
    assert result.exit_code == 2 and "and this is 'Adafruit CircuitPython" in result.output
    assert motetrace_device("install", "--drive", circuitpy, "--board", "circuitpython-pico-w").exit_code == 0


def test_a_mounted_drive_is_found_and_none_or_several_are_told(
    circuitpy: Path, motetrace_device: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("install", "--board", "circuitpython-pico-w")
    monkeypatch.setattr(drive, "mounted", lambda: [circuitpy])
    assert motetrace_device(*words).exit_code == 0
    for found, text in (([], "no CIRCUITPY drive is mounted"), ([circuitpy, circuitpy], "several CIRCUITPY drives")):
        monkeypatch.setattr(drive, "mounted", lambda found=found: found)
        result = motetrace_device(*words)
        assert result.exit_code == 2 and text in result.output


def test_a_full_drive_is_told_before_anything_is_copied(
    circuitpy: Path, motetrace_device: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "room", lambda path: (8192, 512))
    result = motetrace_device("install", "--drive", circuitpy)
    assert result.exit_code == 2 and "too little flash" in result.output
    assert not (circuitpy / "lib" / "motetrace").exists()


def test_a_drive_that_cannot_be_written_says_why_that_may_be(circuitpy: Path, motetrace_device: Command) -> None:
    (circuitpy / "lib" / "motetrace").write_text("a file where the folder should be")
    result = motetrace_device("install", "--drive", circuitpy)
    assert result.exit_code == 2 and "read-only" in result.output


def test_with_a_port_the_self_test_is_run_over_it(
    circuitpy: Path, board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    # The pty board stands in for the same board's serial port: it sees the drive's folder as its /lib.
    (tmp_path / "board" / "lib").rmdir()
    (tmp_path / "board" / "lib").symlink_to(circuitpy / "lib")
    result = motetrace_device("install", "--drive", circuitpy, "--port", board.port, "--with", "payload")
    assert result.exit_code == 0, result.output
    assert "library         motetrace" in result.output and "the library works here" in result.output
