"""The database file: its mode, pragmas and schema, and what is said when it cannot be used."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from motetrace_host.core.errors import StoreError
from motetrace_host.storage import database
from motetrace_host.storage.schema import SCHEMA_VERSION

TABLES = {
    "message_block", "place", "delivery", "device_boot", "unnumbered", "seen", "seen_log", "inferred_boot", "rejection",
    "resource", "span", "forward_cursor", "running", "counter",
}  # fmt: skip


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_file_has_the_whole_schema_and_belongs_to_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "motetrace.db"
    connection = database.connect(path)
    connection.execute("INSERT INTO counter VALUES('x', 1)")
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert names >= TABLES
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == {
        "motetrace.db": "0o600",
        "motetrace.db-wal": "0o600",
        "motetrace.db-shm": "0o600",
    }
    assert path.parent.stat().st_mode & 0o777 == 0o700
    connection.close()


def test_a_commit_is_durable_and_writers_wait_for_each_other(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "motetrace.db")
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 2
    assert pragma(connection, "busy_timeout") == database.BUSY_TIMEOUT_MS
    assert pragma(connection, "user_version") == SCHEMA_VERSION
    connection.close()


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    for expected in range(3):
        connection = database.connect(tmp_path / "motetrace.db")
        assert connection.execute("SELECT count(*) FROM counter").fetchone() == (expected,)
        connection.execute("INSERT INTO counter VALUES(?, 1)", (str(expected),))
        connection.close()


def test_many_first_openings_at_once_make_one_schema(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def open_and_write(number: int) -> None:
        try:
            barrier.wait()
            connection = database.connect(tmp_path / "motetrace.db")
            with database.transaction(connection):
                connection.execute("INSERT INTO counter VALUES(?, 1)", (str(number),))
            connection.close()
        except BaseException as exc:  # noqa: BLE001  told by the assertion below
            failures.append(exc)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    connection = database.connect(tmp_path / "motetrace.db")
    assert connection.execute("SELECT count(*) FROM counter").fetchone() == (8,)
    connection.close()


def test_a_second_connection_does_not_drop_the_locks_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "motetrace.db"
    first = database.connect(path)
    second = database.connect(path)
    first.execute("INSERT INTO counter VALUES('before', 1)")
    # Another process that comes and goes would delete the write-ahead log if it thought that it was alone.
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM counter').fetchall()"
    subprocess.run([sys.executable, "-c", look, str(path)], check=True)
    assert path.with_name("motetrace.db-wal").exists()
    first.execute("INSERT INTO counter VALUES('after', 1)")
    assert second.execute("SELECT count(*) FROM counter").fetchone() == (2,)
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (SCHEMA_VERSION + 1, r"a newer motetrace \(schema 3, this one reads 2\); upgrade"),
        (1, r"a motetrace before its first release \(schema 1, this one reads 2\); move the file away"),
    ],
)
def test_a_database_of_another_version_is_refused_and_left_alone(version: int, says: str, tmp_path: Path) -> None:
    path = tmp_path / "motetrace.db"
    connection = database.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    with pytest.raises(StoreError, match=says) as caught:
        database.connect(path)
    assert not caught.value.retry
    plain = sqlite3.connect(path)
    assert pragma(plain, "user_version") == version
    plain.close()


def test_a_file_that_is_no_database_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "motetrace.db"
    path.write_text("these are not the bytes you are looking for" * 100)
    with pytest.raises(StoreError, match=r"not a motetrace database; move it away.*motetrace\.db") as caught:
        database.connect(path)
    assert not caught.value.retry


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose a folder that this user can write to"):
        database.connect(tmp_path / "file" / "motetrace.db")


def test_a_transaction_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "motetrace.db")

    def write_and_fail() -> None:
        connection.execute("INSERT INTO counter VALUES('x', 1)")
        raise KeyError

    with pytest.raises(KeyError), database.transaction(connection):
        write_and_fail()
    assert connection.execute("SELECT count(*) FROM counter").fetchone() == (0,)
    assert not connection.in_transaction
    connection.close()


def test_a_full_disk_is_worth_a_retry_and_works_after_space_was_made(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "motetrace.db")
    pages = pragma(connection, "page_count")
    connection.execute(f"PRAGMA max_page_count={pages}")  # SQLite's own way to say that the disk is full
    write = "INSERT INTO counter VALUES(?, zeroblob(100000))"
    with pytest.raises(StoreError, match="the disk is full") as caught, database.transaction(connection):
        connection.execute(write, ("x",))
    assert caught.value.retry
    connection.execute("PRAGMA max_page_count=100000")
    with database.transaction(connection):
        connection.execute(write, ("x",))
    assert connection.execute("SELECT name FROM counter").fetchall() == [("x",)]
    connection.close()


def test_a_lock_held_too_long_is_worth_a_retry(tmp_path: Path) -> None:
    first, second = (database.connect(tmp_path / "motetrace.db") for _ in range(2))
    second.execute("PRAGMA busy_timeout=1")
    with database.transaction(first):
        first.execute("INSERT INTO counter VALUES('x', 1)")
        with pytest.raises(StoreError, match="write lock") as caught, database.transaction(second):
            pytest.fail("the lock was given twice")
    assert caught.value.retry
    with database.transaction(second):
        second.execute("INSERT INTO counter VALUES('y', 1)")
    first.close()
    second.close()


def test_a_defect_is_not_worth_a_retry(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "motetrace.db")
    with pytest.raises(StoreError, match="refused the work") as caught, database.translated():
        connection.execute("SELECT * FROM nowhere")
    assert not caught.value.retry
    connection.close()
