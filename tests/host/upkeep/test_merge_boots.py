"""Two boots that were inferred of one: visible in `motetrace devices`, made one by `motetrace db merge-boots`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.storage import database, state_folder
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench, publish_frame
from tests.host.upkeep.conftest import command

MakeBench = Callable[..., Bench]
MINUTE_NS = 60 * 10**9
TOPIC = "devices/old/telemetry"


def arrive(bench: Bench, seqs: range, minute: float, topic: str = TOPIC) -> None:
    for seq in seqs:
        frame = publish_frame(topic, 1, 1, False, False, b'{"seq":%d}' % seq, [])
        bench.inbox.put(Chunk([frame], 1, NOW + int(minute * MINUTE_NS), len(frame[1]) + 120))


def boots(bench: Bench) -> dict[bytes, tuple[int, int, int]]:
    rows = SqliteLedger(bench.connection).read("old")
    return {row.boot_nonce: (row.seen.lowest, row.seen.highest, row.seen.count) for row in rows}


@pytest.fixture
def split(tmp_path: Path, make_bench: MakeBench) -> Path:
    """A device that sent 1..200; its message 1 came again after a minute, which looked like a reboot."""
    for seqs, minute in ((range(1, 101), 0), (range(1, 2), 1), (range(101, 201), 10)):
        bench = make_bench()
        arrive(bench, seqs, minute)
        arrive(bench, seqs[:1], minute, "devices/other/telemetry")
        assert bench.run()
    assert sorted(boots(bench).values()) == [(1, 100, 100), (1, 200, 101)]
    return tmp_path


def nonces(state: Path) -> tuple[str, str]:
    connection = database.connect(state / "motetrace.db")
    rows = SqliteLedger(connection).read("old")
    connection.close()
    older, newer = sorted(rows, key=lambda row: row.seen.count)
    return older.boot_nonce.hex(), newer.boot_nonce.hex()


def merge(state: Path, *words: str) -> tuple[int, str]:
    result = command("db", "merge-boots", "old", *words, "--yes", "--state", str(state))
    return result.exit_code, result.output


def test_a_wrong_inference_is_seen_with_its_reason_and_its_remedy(split: Path) -> None:
    older, newer = nonces(split)
    output = command("devices", "--state", str(split)).output
    assert f"{older}~" in output and f"{newer}~" in output
    remedy = f"motetrace db merge-boots old {older} {newer}"
    assert remedy in output
    one = command("devices", "old", "--state", str(split)).output
    assert f"boot {newer}, inferred by the host (its numbers began again)" in one
    assert f"boot {older}, inferred by the host (the first of this device)" in one
    assert remedy in one


def test_the_two_become_one_everywhere_and_the_device_goes_on_in_it(split: Path, make_bench: MakeBench) -> None:
    older, newer = nonces(split)
    code, output = merge(split, newer, older)
    assert code == 0, output
    assert f"boot {newer} is part of {older} now: 1..200, 200 seen" in output
    assert "101 messages in the log, 1 of them delivered again" in output
    assert command("db", "check", "--state", str(split)).exit_code == 0
    bench = make_bench()
    assert boots(bench) == {bytes.fromhex(older): (1, 200, 200)}
    (state,) = [row.seen for row in SqliteLedger(bench.connection).read("old")]
    assert (state.duplicates, state.gaps) == (1, [])
    assert [boot.boot_nonce.hex() for boot in bench.ledger.boots("old")] == [older]
    named = [entry.record for entry in bench.messages() if entry.record.numbered and entry.place.topic == TOPIC]
    assert [(found.boot_nonce.hex(), found.seq) for found in named] == [(older, seq) for seq in range(1, 201)]
    (first,) = bench.log.find("old", 1)
    assert first.deliveries == 2
    # The shim goes on where the two together ended.
    arrive(bench, range(201, 211), 11)
    assert bench.run()
    assert boots(bench) == {bytes.fromhex(older): (1, 210, 210)}
    assert command("devices", "--state", str(split)).output.count("merge-boots") == 0
    assert command("db", "check", "--state", str(split)).exit_code == 0


def test_what_the_stages_told_of_the_two_is_joined_too(split: Path) -> None:
    older, newer = (bytes.fromhex(nonce) for nonce in nonces(split))
    connection = database.connect(split / "motetrace.db")
    with database.transaction(connection):
        SqliteLedger(connection).merge(
            9,
            [
                SeenRuns("", older, "rule", [(1, 100)], NOW // 10**6),
                SeenRuns("", newer, "rule", [(101, 150)], NOW // 10**6),
                SeenRuns("", newer, "db", [(101, 120)], NOW // 10**6),
            ],
        )
    connection.close()
    assert merge(split, older.hex(), newer.hex())[0] == 0
    connection = database.connect(split / "motetrace.db")
    rows = {row.hop: (row.boot_nonce, row.seen.runs()) for row in SqliteLedger(connection).read("")}
    assert rows == {"rule": (older, [(1, 150)]), "db": (older, [(101, 120)])}
    connection.close()


def test_a_reboot_is_not_merged_away(tmp_path: Path, make_bench: MakeBench) -> None:
    for minute in (0, 1):
        bench = make_bench()
        arrive(bench, range(1, 101), minute)
        assert bench.run()
    before = (boots(bench), bench.messages())
    code, output = merge(tmp_path, *(nonce.hex() for nonce in boots(bench)))
    assert code == 2
    assert "they share 100 numbers" in output
    assert (boots(bench), bench.messages()) == before


def test_it_is_refused_while_a_shim_runs_and_for_boots_that_were_not_inferred(
    split: Path, make_bench: MakeBench
) -> None:
    older, newer = nonces(split)
    with state_folder.take(split):
        code, output = merge(split, older, newer)
    assert (code, "a shim runs on the state folder" in output) == (2, True)
    code, output = merge(split, older, "ffffffffff")
    assert (code, f"old has no inferred boot ffffffffff; it has {older}, {newer}" in output) == (2, True)
    assert merge(split, older, older)[0] == 2
    assert "10 hex digits" in merge(split, older, "xyz")[1]
    bench = make_bench()
    bench.send(1, ("seqref", "0a01020304-00000001-03"), topic="devices/ours/telemetry")
    assert bench.run()
    result = command("db", "merge-boots", "ours", "0a01020304", older, "--yes", "--state", str(split))
    assert "Boots that a device names itself are never wrong" in result.output


def test_without_yes_it_asks_first(split: Path) -> None:
    result = command("db", "merge-boots", "old", *nonces(split), "--state", str(split))
    assert result.exit_code == 1
    assert "cannot be undone" in result.output
    assert len(set(nonces(split))) == 2
