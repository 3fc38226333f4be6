"""`motetrace devices` and `motetrace trace` where stages, devices and brokers report beside the shim."""

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from motetrace_host.cli import main
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.storage import database, side_tables
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.side_tables import (
    CLONES,
    HOP_SERVICES,
    REJECTIONS,
    CloneRow,
    DropCount,
    Rejection,
    ServiceReports,
)
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import Bench

NONCE = bytes.fromhex("3f2a9c01d4")
QUIET = bytes.fromhex("0b01020304")
HOUR_MS = 3_600_000
DOC = Path(__file__).parents[3] / "docs/ledger.md"
Runs = Sequence[tuple[int, int]]


def output(state: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*words, "--state", str(state)], env={"MOTETRACE_STATE": None})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """sensor-0042 assigned 1..100; what became of them is in the runs below. quiet sent 1..10, all stored."""
    now = time.time_ns() // 10**6
    then = now - HOUR_MS
    hops: dict[str, Runs] = {
        "shim": [(1, 9), (13, 95)],
        "rule": [(1, 9), (13, 39), (41, 95)],
        "rule.filtered": [(20, 29)],
        "rule.failed": [(50, 50)],
        "function": [(1, 9), (13, 19), (30, 39), (41, 49), (51, 59), (62, 95)],
        "function.failed": [(70, 70)],
        "device.failed": [(10, 11)],
        "broker.dropped": [(12, 12)],
    }
    connection = database.connect(tmp_path / "motetrace.db")
    with database.transaction(connection):
        store, ledger = SqliteLedger(connection), BootTable(connection)
        seen_runs = [
            SeenRuns("sensor-0042" if hop.split(".")[0] in ("shim", "device", "broker") else "", NONCE, hop, runs, then)
            for hop, runs in hops.items()
        ]
        seen_runs += [SeenRuns("quiet", QUIET, "shim", [(1, 10)], now - 1_000)]
        seen_runs += [SeenRuns("", QUIET, hop, [(1, 10)], now - 1_000) for hop in ("rule", "function")]
        store.merge(1, seen_runs)
        ledger.add_boots([("sensor-0042", NONCE, False, then * 10**6), ("quiet", QUIET, False, then * 10**6)])
        REJECTIONS.save(connection, [Rejection("sensor-0042", "seqref_format", 3)])
        said = DeviceStats(NONCE, 100, (), 0, 98, 0, 0, 18, 5, 98304, (("left_alone", 3),))
        side_tables.save_stats(connection, [("sensor-0042", said, now - 60_000)])
        side_tables.add_drops(connection, [DropCount("sensor-0042", "shim-1", "delivery.dropped", "queue_full", 4, 3)])
        services = [
            ServiceReports("r", hop, at, at, 0, 0) for hop in ("rule", "function") for at in (then - HOUR_MS, now)
        ]
        HOP_SERVICES.save(connection, services)
        CLONES.save(connection, [CloneRow("quiet", NONCE, QUIET, 1, then, then)])
    connection.close()
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_each_boot_has_a_row_and_the_stages_have_a_table(state: Path) -> None:
    text = output(state, "devices")
    found = rows(text)
    assert found[0] == [
        "device",
        "boot",
        "seen",
        "twice",
        "lost",
        "waiting",
        "late",
        "unsent",
        "dropped",
        "last",
        "seen",
    ]
    # lost: 10..12 in a gap, and 96..100, which the device assigned and nobody saw
    assert found[1][:9] == ["sensor-0042", NONCE.hex(), "92", "0", "8", "0", "0", "2", "1"]
    assert found[2][:9] == ["quiet", QUIET.hex(), "10", "0", "0", "0", "0", "0", "0"]
    assert ["sensor-0042", NONCE.hex(), "rule", "91", "10", "1", "1", "0", "0", "95"] in found
    assert ["function", "78", "0", "1", "2", "0", "0", "95"] in found  # 60 and 61
    behind = text.partition("behind the shim:")[2].partition("\n\n")[0]
    assert "quiet" not in behind, "where all is well there is nothing to tell"
    assert "quiet: two devices use this id in turns" in text
    assert "seqref_format" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("!")) <= 100


@pytest.mark.parametrize(("name", "words"), [("devices", ["devices"]), ("device", ["devices", "sensor-0042"])])
def test_the_examples_in_the_docs_are_what_is_printed(state: Path, name: str, words: list[str]) -> None:
    shown = re.search(rf"<!-- example: {name} -->\n```\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None

    def timeless(text: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)

    assert timeless(output(state, *words)) == timeless(shown[1])


def test_one_device_is_told_in_full(state: Path) -> None:
    text = output(state, "devices", "sensor-0042")
    for told in (
        "numbers   1..95: 92 seen, 0 came twice, 0 late",
        "lost      8: 10..12, 96..100\n",
        "device    last assigned 100, told 1 min ago; 98 acked, 0 given up, 0 pending",
        "fastest PUBACK 18 ms; 98304 bytes free",
        "left_alone 3",
        "2 publishes failed: 10..11",
        "broker    1 dropped: 12",
        "rule      91 seen, up to 95, 10 filtered, 1 failed, 1 lost",
        "lost there: 40",
        "function  78 seen, up to 95, 1 failed, 2 lost",
        "lost there: 60..61",
        "db        sends no reports",
        "dropped by the broker: 4, queue_full, shim-1's copy, 3 of them without a number",
        "rejected: 3 seqref_format",
    ):
        assert told in text, text
    assert "two devices use this id" in output(state, "devices", "quiet")


def test_boots_can_be_sorted_filtered_and_limited_and_what_is_not_shown_is_counted(state: Path) -> None:
    assert rows(output(state, "devices", "--sort", "latest"))[1][0] == "quiet"
    assert rows(output(state, "devices", "--sort", "device"))[1][0] == "quiet"
    assert rows(output(state, "devices", "--sort", "seen"))[1][0] == "sensor-0042"
    lost = output(state, "devices", "--lost")
    assert "quiet" not in lost.partition("\n\n")[0]
    cut = output(state, "devices", "--limit", "1", "--sort", "latest")
    assert "... and 1 boots more, with 11 losses in all" in cut
    assert "boots more" not in output(state, "devices", "--limit", "1", "--all")
    assert QUIET.hex() in output(state, "devices", "quiet")
    assert f"boot {QUIET.hex()}" not in output(state, "devices", "quiet", "--lost")


def test_programs_are_told_everything_as_json(state: Path) -> None:
    document = json.loads(output(state, "devices", "--json"))
    assert document["not_shown"] == 0
    first, second = document["boots"]
    assert (first["device_id"], first["boot"], first["lost"], first["failed"]) == ("sensor-0042", NONCE.hex(), 8, 2)
    assert first["missing"] == [[10, 12, "lost"]]
    assert [stage["hop"] for stage in first["stages"]] == ["rule", "function"]
    assert first["stages"][1]["lost_runs"] == [[60, 61]]
    assert first["stats"]["rtt_ms"] == 18
    assert second["stats"] is None
    assert document["clones"][0]["boots"] == [NONCE.hex(), QUIET.hex()]
    assert document["rejected"] == [{"device_id": "sensor-0042", "reason": "seqref_format", "count": 3}]
    (only,) = json.loads(output(state, "devices", "sensor-0042", "--json"))["boots"]
    assert only == first
    assert json.loads(output(state, "devices", "--json", "--limit", "1"))["not_shown"] == 1


ON_ITS_WAY = "acked by the broker, delivered to the shim"
SENTENCES = {
    5: f"REACHED the function: {ON_ITS_WAY}, seen by rule_evaluate, seen by transform_store. "
    "Not reported: database sends no reports.",
    10: "FAILED on the device: its publish raised or was refused, as the device told.",
    12: "DROPPED by the broker: numbered by the device, which told",
    25: f"FILTERED by the rule, which is no loss: {ON_ITS_WAY}, seen by rule_evaluate with rule.matched=false; "
    "9 of its 70 neighbours were rejected there with rule.matched=false.",
    40: f"LOST between broker and rule engine: {ON_ITS_WAY}, never seen by rule_evaluate; 39 and 41 were seen there, "
    "10 of its neighbours were rejected there with rule.matched=false, 1 of its neighbours failed there.",
    50: f"FAILED at the rule engine: {ON_ITS_WAY}, seen by rule_evaluate and failed there; "
    "none of its 90 neighbours failed there.",
    60: f"LOST between rule engine and function: {ON_ITS_WAY}, seen by rule_evaluate, never seen by transform_store; "
    "59 and 62 were seen there",
    70: "FAILED at the function: ",
    98: "LOST between broker and shim: numbered by the device, which told",
    101: "NOT SENT yet, or lost since: the highest number known of this boot is 95",
}


@pytest.mark.parametrize(("seq", "told"), SENTENCES.items(), ids=[str(seq) for seq in SENTENCES])
def test_where_a_message_is_is_one_sentence_with_its_evidence(state: Path, seq: int, told: str) -> None:
    text = output(state, "trace", "sensor-0042", "--seq", str(seq), code=1)
    assert f"boot {NONCE.hex()}: {told}" in text
    if seq == 12:
        assert "dropped by the broker (queue_full), never seen by the shim; 9 and 13 were seen there" in text


def test_of_a_device_with_many_boots_the_latest_are_told(tmp_path: Path) -> None:
    connection = database.connect(tmp_path / "motetrace.db")
    with database.transaction(connection):
        seen_runs = [SeenRuns("d", number.to_bytes(5, "big"), "shim", [(1, 2)], number) for number in range(1, 31)]
        seen_runs += [SeenRuns("", number.to_bytes(5, "big"), "rule", [(1, 1)], number) for number in range(1, 31)]
        SqliteLedger(connection).merge(1, seen_runs)
        HOP_SERVICES.save(connection, [ServiceReports("r", "rule", 10**6, 10**6, 0, 0)])
    connection.close()
    text = output(tmp_path, "trace", "d", "--seq", "9", code=1)
    assert text.count("NOT SENT yet") == 10
    assert f"boot {30:010x}: " in text
    assert "... and 20 older boots: name one with --boot." in text
    assert len(json.loads(output(tmp_path, "devices", "d", "--json"))["boots"][0]["stages"]) == 1


def test_of_a_message_in_the_log_the_same_is_told_sampled_or_not(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make_bench()
    for seq in range(1, 4):
        flags = "02" if seq == 2 else "03"
        bench.send(seq, ("seqref", f"{NONCE.hex()}-{seq:08x}-{flags}"))
    assert bench.run()
    now = time.time_ns() // 10**6
    with database.transaction(bench.connection):
        SqliteLedger(bench.connection).merge(9, [SeenRuns("", NONCE, "rule", [(1, 1), (3, 3)], now - HOUR_MS)])
        HOP_SERVICES.save(
            bench.connection, [ServiceReports("r", "rule", 1, 1, 0, 0), ServiceReports("r", "rule", now, now, 0, 0)]
        )
    text = output(tmp_path, "trace", "s", "--seq", "2")
    assert "LOST between broker and rule engine: delivered to the shim 2026-" in text
    assert "never seen by rule_evaluate; 1 and 3 were seen there." in text
    assert "hops        shim seen, rule lost, function sends no reports, db sends no reports" in text
    assert "not kept (unsampled: the device did not sample it)" in text
    text = output(tmp_path, "trace", "s", "--seq", "3")
    assert "REACHED the rule engine: " in text
    assert "Not reported: function and database send no reports." in text


def test_ten_thousand_devices_are_told_in_seconds(tmp_path: Path) -> None:
    now = time.time_ns() // 10**6
    connection = database.connect(tmp_path / "motetrace.db")
    boots = [(f"d{number}", number.to_bytes(5, "big")) for number in range(1, 10_001)]
    with database.transaction(connection):
        seen_runs = [SeenRuns(device, nonce, "shim", [(1, 500), (502, 600)], now - HOUR_MS) for device, nonce in boots]
        seen_runs += [
            SeenRuns("", nonce, hop, [(1, 500)], now - HOUR_MS) for _, nonce in boots for hop in ("rule", "db")
        ]
        SqliteLedger(connection).merge(1, seen_runs)
        HOP_SERVICES.save(connection, [ServiceReports("r", hop, now, now, 0, 0) for hop in ("rule", "db")])
    connection.close()
    began = time.process_time()
    text = output(tmp_path, "devices")
    # 1.2 s on one core of a laptop; a quadratic step would take minutes.
    assert time.process_time() - began < 10
    assert "... and 9950 boots more, with 995000 losses in all" in text
