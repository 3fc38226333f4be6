"""What a device says of its own messages: read as documented, kept once, the latest of each boot."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.mqtt.publish_packet import PublishPacket
from motetrace_host.core.wire import device_stats
from motetrace_host.core.wire.device_stats import DeviceStats
from motetrace_host.core.wire.hop_report import SeenRuns
from motetrace_host.shim.device_stats import DeviceStatistics
from motetrace_host.storage.side_tables import DEVICE_STATS, latest_stats

DOC = Path(__file__).parents[3] / "docs/device-messages.md"
NONCE = bytes.fromhex("5f3a9c0d21")
NOW_NS = 1_795_000_000_000_000_000
NOW_MS = NOW_NS // 10**6


def example() -> bytes:
    found = re.search(r"<!-- example: stats -->\n```json\n(.*)\n```", DOC.read_text(encoding="utf-8"))
    assert found is not None
    return found[1].encode()


def changed(**members: object) -> bytes:
    wire = json.loads(example()) | members
    return json.dumps({name: value for name, value in wire.items() if value is not ...}).encode()


def last_assigned(connection: sqlite3.Connection, device_id: str, boot_nonce: bytes) -> int | None:
    """Give the last number that a boot is known to have assigned; None when it said nothing."""
    row = connection.execute(
        "SELECT last_seq FROM device_stats WHERE device_id = ? AND boot_nonce = ?", (device_id, boot_nonce)
    ).fetchone()
    return None if row is None else row[0]


def test_the_example_in_the_docs_is_read_in_full() -> None:
    assert device_stats.parse(example()) == DeviceStats(
        NONCE, 2**32 - 1, ((7, 9), (12, 12)), 0, 310, 2, 1, 18, 86400123, 98304, (("left_alone", 3),)
    )


def test_the_least_a_device_can_say_is_enough() -> None:
    assert device_stats.parse(b'{"v":1,"nonce":"5f3a9c0d21","seq":0}') == DeviceStats(NONCE, 0)


def test_failed_publishes_are_for_the_ledger() -> None:
    assert device_stats.parse(example()).seen_runs("sensor-0042", NOW_MS) == [
        SeenRuns("sensor-0042", NONCE, "device.failed", ((7, 9), (12, 12)), NOW_MS)
    ]
    assert device_stats.parse(changed(failed=[])).seen_runs("sensor-0042", NOW_MS) == []


def test_ranges_that_overlap_are_one_so_that_no_number_counts_twice() -> None:
    assert device_stats.parse(changed(failed=[[12, 14], [3, 5], [6, 6], [13, 20]])).failed == ((3, 6), (12, 20))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * 4097, "stats_size"),
        (b"{", "stats_format"),
        (b"[" * 4000, "stats_format"),
        (changed(seq="7"), "stats_format"),
        (changed(seq=...), "stats_format"),
        (changed(failed=[[1]]), "stats_format"),
        (changed(v=2), "stats_version"),
        (changed(nonce="5f3a9c0d2"), "stats_nonce"),
        (changed(nonce="5F3A9C0D21"), "stats_nonce"),
        (changed(seq=-1), "stats_seq"),
        (changed(seq=2**32), "stats_seq"),
        (changed(failed=[[n, n] for n in range(1, 19, 2)]), "stats_failed"),
        (changed(failed=[[9, 7]]), "stats_failed"),
        (changed(failed=[[-1, 7]]), "stats_failed"),
        (changed(seq=8, failed=[[7, 9]]), "stats_failed"),
        (changed(acked=-1), "stats_count"),
        (changed(more=2**62), "stats_count"),
        (changed(rtt_ms=-5), "stats_count"),
        (changed(free_bytes=10**30), "stats_count"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        device_stats.parse(payload)
    assert refused.value.reason == reason
    assert str(refused.value).isprintable() and len(str(refused.value)) < 400


def test_other_members_are_counters_only_when_they_are_counts() -> None:
    odd = {"a": 1, "b": -1, "c": 1.5, "d": "1", "e": [1], "f": None, "g" * 65: 1, "h": 10**18}
    assert device_stats.parse(changed(left_alone=..., **odd)).counters == (("a", 1),)
    many = {f"c{n}": n for n in range(100)}
    assert len(device_stats.parse(changed(**many)).counters) == device_stats.MAX_COUNTERS


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise_anything_else(payload: bytes) -> None:
    with pytest.raises(WireError):
        device_stats.parse(payload)


@given(st.data())
def test_no_damage_makes_the_reader_raise_anything_else(data: st.DataObject) -> None:
    payload = bytearray(example())
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        device_stats.parse(bytes(payload))
    except WireError as error:
        assert error.reason.startswith("stats_")


def hear(side: DeviceStatistics, connection: sqlite3.Connection, payload: bytes, at_ms: int = NOW_MS) -> None:
    device_id = side.template.match("motetrace/sensor-0042/stats")
    assert device_id == "sensor-0042"
    side.receive(device_id, PublishPacket("", 1, 1, False, False, payload), at_ms * 10**6)
    connection.execute("BEGIN")
    side.save(connection)
    connection.execute("COMMIT")
    side.committed()


def test_the_latest_of_a_boot_is_kept_and_tells_the_last_number_assigned(connection: sqlite3.Connection) -> None:
    side = DeviceStatistics("motetrace/")
    assert last_assigned(connection, "sensor-0042", NONCE) is None
    hear(side, connection, changed(seq=100, ticks_ms=1, acked=90, failed=[], more=1))
    hear(side, connection, changed(seq=200, ticks_ms=2, acked=180, failed=[], more=2), NOW_MS + 5)
    assert last_assigned(connection, "sensor-0042", NONCE) == 200
    assert latest_stats(connection, "sensor-0042").get(("sensor-0042", NONCE)) == (
        DeviceStats(NONCE, 200, (), 3, 180, 2, 1, 18, 2, 98304, (("left_alone", 3),)),
        NOW_MS + 5,
    )
    assert latest_stats(connection, "sensor-0043") == {}


def test_the_same_message_again_adds_nothing_up_and_an_older_one_takes_nothing_back(
    connection: sqlite3.Connection,
) -> None:
    side = DeviceStatistics("motetrace/")
    late = changed(seq=100, ticks_ms=1, acked=90, failed=[], more=4)
    last = changed(seq=200, ticks_ms=2, acked=180, failed=[], more=2)
    for payload in (last, last, late):
        hear(side, connection, payload)
    found = latest_stats(connection, "sensor-0042").get(("sensor-0042", NONCE))
    assert found is not None
    assert (found[0].last_seq, found[0].acked, found[0].ticks_ms, found[0].more) == (200, 180, 2, 6)


def test_the_boots_heard_longest_ago_go_first(connection: sqlite3.Connection) -> None:
    side = DeviceStatistics("motetrace/")
    for boot in range(5):
        hear(side, connection, changed(nonce=f"{boot:010x}"), NOW_MS - boot)
    assert DEVICE_STATS.trim_beyond(connection, 2, 1) == 1
    assert DEVICE_STATS.trim_beyond(connection, 2, 9) == 2
    assert DEVICE_STATS.trim_beyond(connection, 2, 9) == 0
    kept = [last_assigned(connection, "sensor-0042", bytes(4) + bytes([n])) for n in range(5)]
    assert [n for n, last in enumerate(kept) if last is not None] == [0, 1]
