"""Two devices under one id: noticed by the running shim, told once, written down, and no cost to all others."""

import pytest

from motetrace_host.core.messages.clones import BootTurns
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.storage.side_tables import CLONES, CloneRow
from tests.host.app.conftest import NOW, Bench, publish_frame

OLD, NEW = "0a01020304", "0b01020304"
MINUTE_NS = 60 * 10**9
DEVICE = "devices/s/telemetry"


def arrive(
    bench: Bench, boot: str, seq: int, minute: float, topic: str = DEVICE, qos: int = 0, long: bool = False
) -> None:
    pairs = [("seqref", f"{boot}-{seq:08x}-03")] + ([("x", "y")] if long else [])
    frame = publish_frame(topic, 1, qos, False, False, b"x", pairs)
    bench.inbox.put(Chunk([frame], 1, NOW + int(minute * MINUTE_NS), len(frame[1]) + 120))


def warnings(bench: Bench) -> list[dict[str, object]]:
    return [fields for event, fields in bench.logged if event == "cloned_device"]


@pytest.mark.parametrize("long", [False, True])
def test_two_boots_that_take_turns_are_told_once_and_written_down(bench: Bench, long: bool) -> None:
    for turn in range(1, 9):
        arrive(bench, OLD, turn, turn, long=long)
        arrive(bench, NEW, turn, turn + 0.5, topic="devices/s/telemetry", long=long)
    assert bench.run()
    (told,) = warnings(bench)
    assert told["device.id"] == "s"
    assert told["boots"] == [OLD, NEW]
    assert "give each its own" in str(told["remedy"])
    row = {row.device_id: row for row in CLONES.read(bench.connection)}["s"]
    assert (row.older.hex(), row.newer.hex(), row.times) == (OLD, NEW, 1)
    assert bench.counters.summary()["clones"] == 1


def test_a_reboot_with_stragglers_is_none_and_neither_is_a_bare_seq(bench: Bench) -> None:
    for seq in range(1, 5):
        arrive(bench, OLD, seq, 0)
    for seq in range(1, 9):  # for ten seconds after the reboot the old boot's last messages come between
        arrive(bench, NEW, seq, 1 + seq / 60)
        arrive(bench, OLD, 4 + seq, 1 + seq / 60)
    for turn in range(8):
        frame = publish_frame("devices/bare/telemetry", 1, 0, False, False, b'{"seq":%d}' % (1 + turn % 2 * 10**7), [])
        bench.inbox.put(Chunk([frame], 1, NOW + turn * MINUTE_NS, 200))
    assert bench.run()
    assert warnings(bench) == []
    assert CLONES.read(bench.connection) == []


def test_nothing_is_asked_while_the_boot_stays_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def boot_changed(
        self: CloneWatch, device_id: str, turns: BootTurns | None, left: bytes, entered: bytes, received_unix_ns: int
    ) -> None:
        asked.append((left.hex(), entered.hex()))

    monkeypatch.setattr(CloneWatch, "boot_changed", boot_changed)
    for seq in range(1, 101):
        arrive(bench, OLD, seq, 0)
    arrive(bench, NEW, 1, 0)
    assert bench.run()
    assert asked == [(OLD, NEW)]


def test_rows_add_up_and_go_by_age(bench: Bench) -> None:
    a, b = bytes.fromhex(OLD), bytes.fromhex(NEW)
    CLONES.save(bench.connection, [CloneRow("s", a, b, 1, 10, 10)])
    CLONES.save(bench.connection, [CloneRow("s", b, a, 2, 20, 20), CloneRow("t", a, b, 1, 30, 30)])
    assert CLONES.read(bench.connection, "s") == [CloneRow("s", b, a, 3, 10, 20)]
    assert CLONES.trim_before(bench.connection, 20, 9) == 0
    assert CLONES.trim_before(bench.connection, 21, 9) == 1
    assert [row.device_id for row in CLONES.read(bench.connection)] == ["t"]
