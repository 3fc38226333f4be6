"""Boards behind a pty, and `motetrace device` run on them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from motetrace_host.commands.device import device
from tests.board.pty_board import PtyBoard


@pytest.fixture
def plug_in(tmp_path: Path) -> Iterator[Callable[..., PtyBoard]]:
    """Starts boards: `plug_in(32)` with a folder as its file system, `plug_in(64, "24k")` with a littlefs in RAM."""
    with ExitStack() as running:

        def start(bits: int, filesystem: Path | str | None = None) -> PtyBoard:
            return running.enter_context(PtyBoard(bits, filesystem or tmp_path / "board"))

        yield start


@pytest.fixture(params=(64, 32))
def board(request: pytest.FixtureRequest, plug_in: Callable[..., PtyBoard]) -> PtyBoard:
    """One board, of both word sizes; its file system is the folder tmp_path / "board"."""
    return plug_in(request.param)


@pytest.fixture
def motetrace_device() -> Callable[..., Result]:
    """Runs `motetrace device WORDS`; .output holds what it wrote, .exit_code how it ended."""

    def run(*words: str | Path) -> Result:
        result = CliRunner().invoke(device, list(map(str, words)))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
