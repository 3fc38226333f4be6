"""`motetrace db compact`: gives the disk back, never under a running shim, never without room, and loses nothing."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from motetrace_host.commands import db_compact
from motetrace_host.commands.progress import Progress
from motetrace_host.storage import database, state_folder
from motetrace_host.storage.message_log import MessageLog
from tests.host.app.conftest import Bench
from tests.host.upkeep.conftest import command

MakeBench = Callable[..., Bench]


@pytest.fixture
def state(tmp_path: Path, make_bench: MakeBench) -> Path:
    """A state folder of which most is free."""
    bench = make_bench()
    for seq in range(1, 101):
        bench.send(1, ("seqref", f"0a01020304-{seq:08x}-03"))
    assert bench.run()
    bench.connection.execute("CREATE TABLE filler(x BLOB)")
    bench.connection.execute("INSERT INTO filler VALUES(zeroblob(8000000))")
    bench.connection.execute("DROP TABLE filler")
    bench.close()
    return tmp_path


def run(state: Path) -> tuple[int, str]:
    result = command("db", "compact", "--state", str(state))
    return result.exit_code, result.output


def test_what_is_not_used_is_given_back_and_nothing_else_changes(state: Path) -> None:
    path = state / "motetrace.db"
    connection = database.connect(path)
    before = list(MessageLog(connection).entries())
    connection.close()
    assert path.stat().st_size > 8_000_000
    code, output = run(state)
    assert code == 0, output
    assert path.stat().st_size < 400_000
    assert "7.6 MiB given back" in output
    connection = database.connect(path)
    assert list(MessageLog(connection).entries()) == before
    connection.close()
    assert command("db", "check", "--state", str(state)).exit_code == 0
    assert "nothing to give back" in run(state)[1]
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_refused_while_a_shim_runs_and_the_remedy_is_told(state: Path) -> None:
    size = (state / "motetrace.db").stat().st_size
    with state_folder.take(state):
        code, output = run(state)
    assert code == 2
    assert "a shim runs on the state folder" in output
    assert "stop it, do this, and start it again" in output
    assert (state / "motetrace.db").stat().st_size == size
    assert run(state)[0] == 0


def test_a_disk_without_room_is_told_before_anything_is_done(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    size = (state / "motetrace.db").stat().st_size
    code, output = run(state)
    assert code == 2
    assert "compacting needs 16.3 MiB free" in output
    assert "and 976.6 KiB are" in output
    assert (state / "motetrace.db").stat().st_size == size


def test_a_reader_keeps_the_file_from_shrinking_and_that_is_said(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 100)
    reader = database.connect(state / "motetrace.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM message_block").fetchone()
    code, output = run(state)
    assert code == 0, output
    assert "another motetrace reads it" in output
    assert reader.execute("SELECT sum(messages) FROM message_block").fetchone() == (100,)
    reader.close()
    assert command("db", "check", "--state", str(state)).exit_code == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_nothing_elsewhere() -> None:
    seconds = iter(range(100))
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(stream, lambda: float(next(seconds)))
        progress.tell("messages", 0.25)
        progress.tell("messages", 0.5)
        progress.end()
    assert terminal.getvalue() == "\rmessages  25%\rmessages  50%\r" + " " * 13 + "\r"
    assert file.getvalue() == ""


def test_a_call_that_says_nothing_itself_is_told_with_its_seconds(state: Path) -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    told = []

    def text(seconds: float) -> str:
        told.append(seconds)
        return f"{seconds:.1f} s"

    with progress.while_waiting(text):
        while not told:
            pass
    assert " s" in terminal.getvalue()
    assert db_compact.report(state, progress)[1] == 0
