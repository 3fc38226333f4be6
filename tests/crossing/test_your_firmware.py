"""docs/your-firmware.md is walked from its first block to its last, in a fresh copy of the checkout.

A marker before each block says what is done with it:
    run              a shell runs it to its end
    start            in the background, until the broker answers or the shim has subscribed; it is left running
    start the device in the background, until a reading of it has arrived at the broker
    start and stop   the same, then Ctrl-C
    ask              run again until it succeeds: what it asks for may be some milliseconds away
    answer           what the block before printed, but for times, ids and the lengths of bars
    file NAME        written as that file
    board            run with the port of a board, real MicroPython behind a pseudo-terminal
Ports, and the folder where the shim keeps its state, are the test's own.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import parts
import pytest
from services import free_port, popen

from tests.board.pty_board import PtyBoard
from tests.device.subscriber import Subscriber

PAGE = (parts.ROOT / "docs" / "your-firmware.md").read_text()
BLOCKS = re.findall(r"<!-- test: (.+?) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL)
LIMIT_S = 60.0


class Walk:
    """A reader who does what the page says, in one folder."""

    def __init__(self, folder: Path, board: PtyBoard) -> None:
        left_out = shutil.ignore_patterns(".git", ".venv", ".cache", ".*_cache", "build", "*.egg-info", "__pycache__")
        self.folder = folder / "checkout"
        shutil.copytree(parts.ROOT, self.folder, ignore=left_out)
        (self.folder / ".cache").symlink_to(parts.CACHE)
        # What `make parts` installs is there already, as a view of this checkout's: nothing may be installed into that.
        venv = self.folder / ".venv"
        venv.mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (venv / name).symlink_to(parts.ROOT / ".venv" / name)
        (venv / ".demo.stamp").touch()
        (self.folder / "firmware").mkdir()
        self.port = free_port()
        self._board = board
        path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
        self._environment = {
            **os.environ,
            "PATH": path,
            "PYTHON": sys.executable,
            "XDG_STATE_HOME": str(folder / "state"),
            "MOTETRACE_OTLP_LISTEN": f"127.0.0.1:{free_port()}",
        }
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.said = ""

    def text(self, block: str) -> str:
        """The block with this test's port."""
        return block.replace("1883", str(self.port))

    def _shell(self, block: str) -> list[str]:
        words = self.text(block)
        words = re.sub(r"\bmpremote ", f"mpremote connect {self._board.port} ", words)
        words = re.sub(r"(motetrace device .*)", rf"\1 --port {self._board.port}", words)
        return ["sh", "-e", "-c", f"[ ! -d firmware/venv ] || . firmware/venv/bin/activate\n{words}"]

    def attempt(self, block: str) -> int:
        """Run it to its end; its exit code."""
        done = subprocess.run(
            self._shell(block), cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.said = done.stdout
        return done.returncode

    def run(self, block: str) -> None:
        assert self.attempt(block) == 0, f"{block}\n{self.said}"

    def ask(self, block: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self.attempt(block):
            assert time.monotonic() < deadline, f"{block}\n{self.said}"

    def start(self, block: str) -> Path:
        """Run it in the background; where its output goes."""
        log = self.folder.parent / f"{len(list(self.folder.parent.iterdir()))}.log"
        with log.open("wb") as output:
            process = popen(
                self._shell(block), cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._running.append((process, log))
        return log

    def until_started(self, block: str, log: Path) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not self._is_up(block, log):
            process, _ = self._running[-1]
            assert process.poll() is None and time.monotonic() < deadline, f"{block}\n{log.read_text()}"
            time.sleep(0.02)

    def _is_up(self, block: str, log: Path) -> bool:
        if "motetrace run" in block:
            return "subscribed" in log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, program: str = "") -> None:
        """Ctrl-C for the program with this in its command, or for what was started last."""
        at = max(at for at, (process, _) in enumerate(self._running) if program in str(process.args))
        process, _ = self._running.pop(at)
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop_all(self) -> None:
        while self._running:
            self.stop()


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    with PtyBoard(64, tmp_path / "board") as board:
        reader = Walk(tmp_path, board)
        try:
            yield reader
        finally:
            reader.stop_all()


def skeleton(text: str) -> str:
    """What stays the same from one run to the next; where the page wraps a line does not count."""
    text = re.sub(r"\b[0-9a-f]{10,32}\b", "ID", text)
    text = re.sub(r"\d+-\d+-\d+ [\d:.]+Z", "TIME", text)
    text = re.sub(r"\+?\b\d+(\.\d+)? ?(us|ms|s)\b|\+?\b0\b", "DURATION", text)
    return " ".join(re.sub(r"[#=|!]", " ", text).split())


def test_every_block_of_the_page_says_what_is_done_with_it() -> None:
    assert len(BLOCKS) == PAGE.count("```") / 2 > 10
    assert max(map(len, PAGE.splitlines())) <= 110


@pytest.mark.timeout(600)
def test_the_page_leads_a_stranger_to_a_trace_a_unit_test_and_a_board(walk: Walk) -> None:
    for what, block in BLOCKS:
        if what == "run" or what == "board":
            walk.run(block)
        elif what.startswith("file "):
            (walk.folder / what.removeprefix("file ")).write_text(walk.text(block))
        elif what == "ask":
            walk.ask(block)
        elif what == "answer":
            assert skeleton(walk.said) == skeleton(block), walk.said
        elif what == "start":
            if "mosquitto.conf" in block:
                walk.stop("micropython64")
                walk.stop("mosquitto")
            walk.until_started(block, walk.start(block))
        elif what == "start and stop" or what == "start the device":
            with Subscriber("127.0.0.1", walk.port, "devices/#") as subscriber:
                log = walk.start(block)
                reading = subscriber.take(1)[0]
                assert reading.topic == b"devices/station-1/telemetry" and reading.payload == b'{"temp":21.5}', log
            if what == "start and stop":
                walk.stop()
        else:
            raise AssertionError(f"the page has a block marked {what!r}")
