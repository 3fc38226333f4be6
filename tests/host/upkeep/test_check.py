"""`motetrace db check` and `show`: a sound database is called sound, and each fault is found and named."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from motetrace_host.commands import db_check
from motetrace_host.commands.db_check import Checking
from motetrace_host.commands.progress import Progress
from motetrace_host.core.messages import record
from motetrace_host.storage import database
from motetrace_host.storage.forward_cursor import ForwardCursor
from tests.host.app.conftest import Bench
from tests.host.upkeep.conftest import command

MakeBench = Callable[..., Bench]


@pytest.fixture
def state(tmp_path: Path, make_bench: MakeBench) -> Path:
    """A state folder with three boots, one of them with losses and repetitions, in several blocks."""
    for first in (1, 11, 21):
        bench = make_bench()
        for seq in range(first, first + 10):
            bench.send(1, ("seqref", f"0a01020304-{seq:08x}-03-1f4"))
            bench.send(2, ("seqref", f"0b01020304-{seq * 2:08x}-02"), topic="devices/t/telemetry")
            bench.send(3, payload=b'{"seq":%d}' % seq, topic="devices/bare/telemetry")
            bench.send(4, ("traceparent", f"00-{seq:032x}-b7ad6b7169203331-01"))
        bench.send(5, ("seqref", f"0a01020304-{first:08x}-03-1f4"))
        assert bench.run()
        cursor = ForwardCursor(bench.connection, "http://x")
        cursor.open()
    return tmp_path


def run(state: Path) -> tuple[int, str]:
    result = command("db", "check", "--state", str(state))
    return result.exit_code, result.output


def test_a_sound_database_is_called_sound(state: Path) -> None:
    code, output = run(state)
    assert code == 0, output
    assert "all is well" in output
    assert "checked 120 messages in 3 blocks" in output
    assert "3 boots against their messages" in output


def test_what_was_forgotten_is_not_missed(state: Path, make_bench: MakeBench) -> None:
    bench = make_bench()
    assert bench.log.trim(80) == 40
    bench.send(1, ("seqref", "0c01020304-00000001-03"))
    assert bench.run()
    code, output = run(state)
    assert code == 0, output
    assert "checked 81 messages in 3 blocks" in output


FAULTS = {
    "bytes for": "UPDATE message_block SET records = substr(records, 2) WHERE id = 2",
    "names places that do not exist": "DELETE FROM place WHERE device_id = 't'",
    "names thresholds that do not exist": (
        "UPDATE message_block SET records = CAST(substr(records, 1, 56) || x'09' || substr(records, 58) AS BLOB)"
        " WHERE id = 1"
    ),
    "extras": "UPDATE message_block SET extras = x'0000ffff0000000190' WHERE id = 1",
    "messages in the log": "DELETE FROM message_block WHERE id = 2",
    "is damaged": "UPDATE seen SET state = x'07' WHERE device_id = 't'",
    "beyond what was ever stored": "UPDATE forward_cursor SET block_upto = 99",
    "beyond its block": "UPDATE forward_cursor SET block_offset = 41",
    "cannot be read on": "UPDATE message_block SET records = CAST(records AS TEXT) WHERE id = 2",
    "spans name resource 7": "INSERT INTO span VALUES(NULL, x'01', x'02', 'x', 1, 2, 0, 7, x'', x'')",
}


@pytest.mark.parametrize(("told", "statement"), FAULTS.items(), ids=FAULTS.keys())
def test_each_fault_is_found_and_named_with_what_to_do(state: Path, told: str, statement: str) -> None:
    connection = database.connect(state / "motetrace.db")
    before = connection.total_changes
    connection.execute(statement)
    assert connection.total_changes > before, "the statement makes no fault"
    connection.close()
    code, output = run(state)
    assert code == 1
    assert told in output
    assert "  -> " in output


def test_a_file_with_a_broken_page_is_found(state: Path) -> None:
    connection = database.connect(state / "motetrace.db")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'place_by_device'").fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (state / "motetrace.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 64)
    code, output = run(state)
    assert (code, "file: " in output) == (1, True)
    assert ".recover" in output


def test_more_boots_than_memory_allows_are_not_compared_and_that_is_said(state: Path) -> None:
    connection = database.connect(state / "motetrace.db")
    checking = Checking(connection, Progress(), max_boots=2)
    assert list(checking.run()) == []
    assert "not compared: messages and ledger, of more than 2 boots" in checking.notes
    connection.close()


def test_of_many_faults_some_are_shown(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_check, "MAX_SHOWN", 1)
    connection = database.connect(state / "motetrace.db")
    connection.execute("DELETE FROM place")
    connection.close()
    _, output = run(state)
    assert "  and 5 more\n" in output


def test_the_columns_that_are_read_are_those_of_a_record() -> None:
    packed = record.RECORD.pack(b"t" * 16, b"s" * 8, b"nonce", 7, 8, 9, 10, 11, 1, record.NUMBERED | 1, 16, 3)
    assert db_check._COLUMNS.unpack(packed) == (b"nonce", 9, record.NUMBERED | 1, 3)
    assert db_check._COLUMNS.size == struct.calcsize(record.RECORD.format) == record.SIZE


def test_show_tells_rows_bytes_age_and_bounds_of_each_table(state: Path) -> None:
    result = command("db", "show", "--state", str(state))
    assert result.exit_code == 0
    assert "messages     120 in 3 blocks" in result.output
    rows = {line.split()[0]: line for line in result.output.splitlines() if line and not line.startswith(" ")}
    assert rows["message_block"].split()[1] == "3"
    assert "KiB" in rows["message_block"]
    assert "2026-" in rows["message_block"]
    assert rows["message_block"].endswith("--keep 14 days, --max-messages 1000000")
    assert set(rows) > {"seen", "span", "place", "device_boot"}
    assert max(len(line) for line in result.output.splitlines()) <= 120


def test_looking_where_no_shim_was_ends_with_2_and_makes_nothing(tmp_path: Path) -> None:
    for words in (["show"], ["check"], ["compact"], ["merge-boots", "d", "0a01020304", "0b01020304", "--yes"]):
        result = command("db", *words, "--state", str(tmp_path / "none"))
        assert result.exit_code == 2
        assert "no shim has run" in result.output
    assert not (tmp_path / "none").exists()
