"""Boot nonces that contradict what devices said at boot are noticed, once per boot, and nothing else changes."""

from collections.abc import Callable
from typing import Any

import pytest

from motetrace_host.shim import nonces
from motetrace_host.shim.nonces import GRACE_NS, NEVER, SHARED, UNBORN, UNWATCHED, Nonces
from tests.host.app.conftest import NOW, Bench

MakeBench = Callable[..., Bench]

BORN, OTHER = "0a01020304", "0b01020304"
LATER = NOW + GRACE_NS


def seqref(nonce: str, seq: int = 1) -> tuple[str, str]:
    return "seqref", f"{nonce}-{seq:08x}-03"


def structured(nonce: str, seq: int = 1) -> tuple[str, str]:
    return "traceparent", f"00-{nonce}{seq:08x}11111111111111-7f7e7d7c{seq:08x}-03"


def birth(bench: Bench, nonce: str, device: str = "s", **options: Any) -> None:
    payload = f'{{"v":1,"nonce":"{nonce}"}}'.encode()
    bench.send(0, topic=f"motetrace/{device}/birth", payload=payload, qos=0, **options)


def reading(bench: Bench, context: tuple[str, str], device: str = "s", **options: Any) -> None:
    bench.send(0, context, topic=f"devices/{device}/telemetry", qos=0, **options)


def run(bench: Bench) -> list[tuple[str, str]]:
    """Work off what is there; gives (device, reason) of what was counted, and holds it against what was told."""
    assert bench.run()
    counted = bench.rows("SELECT device_id, reason, count FROM rejection ORDER BY 1, 2")
    assert all(count == 1 for _, _, count in counted)
    assert sorted((fields["device.id"], event) for event, fields in bench.logged) == [row[:2] for row in counted]
    return [row[:2] for row in counted]


@pytest.mark.parametrize("context", [seqref, structured])
def test_a_nonce_that_was_never_born_is_noticed_once_when_its_time_is_up(bench: Bench, context: Any) -> None:
    birth(bench, BORN)
    reading(bench, context(BORN), at=NOW)
    reading(bench, context(OTHER), at=NOW)
    for step in range(5):
        reading(bench, context(OTHER, 2 + step), at=LATER + step * GRACE_NS)
    assert run(bench) == [("s", UNBORN)]
    assert bench.logged[0][1]["boot"] == OTHER
    assert len(bench.messages()) == 7, "it is counted as ever"


def test_until_its_time_is_up_nothing_is_told(bench: Bench) -> None:
    birth(bench, BORN)
    reading(bench, seqref(OTHER))
    reading(bench, seqref(OTHER, 2), at=LATER - 1)
    assert run(bench) == []


def test_a_birth_that_comes_late_is_a_birth(bench: Bench) -> None:
    birth(bench, BORN)
    reading(bench, seqref(OTHER))
    birth(bench, OTHER, at=LATER - 1)
    reading(bench, seqref(OTHER, 2), at=LATER)
    assert run(bench) == []


def test_a_device_that_never_publishes_a_birth_contradicts_nothing(bench: Bench) -> None:
    for step, nonce in enumerate((BORN, OTHER)):
        reading(bench, seqref(nonce), at=NOW + step * GRACE_NS)
    reading(bench, seqref(OTHER, 2), at=NOW + 5 * GRACE_NS)
    assert run(bench) == []


def test_inferred_boots_have_no_nonce_of_the_devices(bench: Bench) -> None:
    birth(bench, BORN)
    for at in (NOW, LATER):
        bench.send(0, payload=b'{"seq":5}', qos=0, at=at)
    assert run(bench) == []


def test_a_boot_is_told_of_once_over_a_restart(make_bench: MakeBench) -> None:
    first = make_bench()
    birth(first, BORN)
    reading(first, seqref(OTHER))
    reading(first, seqref(OTHER, 2), at=LATER)
    assert run(first) == [("s", UNBORN)]
    second = make_bench()
    for step in range(2, 5):
        reading(second, seqref(OTHER, step), at=NOW + step * GRACE_NS)
    assert second.run()
    assert second.logged == []
    assert second.rows("SELECT * FROM rejection") == [("s", UNBORN, 1)]


def test_a_restart_within_the_time_goes_on_waiting_for_the_birth(make_bench: MakeBench) -> None:
    first = make_bench()
    birth(first, BORN)
    reading(first, seqref(OTHER))
    assert run(first) == []
    second = make_bench()
    reading(second, seqref(OTHER, 2), at=LATER - 1)
    reading(second, seqref(OTHER, 3), at=LATER)
    assert run(second) == [("s", UNBORN)]


def test_one_nonce_under_two_devices_is_noticed_once_for_the_second(bench: Bench) -> None:
    for seq in range(1, 4):
        reading(bench, seqref(BORN, seq))
        reading(bench, structured(BORN, seq), device="copy")
    assert run(bench) == [("copy", SHARED)]
    ((event, fields),) = bench.logged
    assert (event, fields["device.id"], fields["boot"], fields["other_device"]) == (SHARED, "copy", BORN, "s")


def test_a_copied_birth_is_noticed_too_and_once_with_its_readings(bench: Bench) -> None:
    birth(bench, BORN)
    birth(bench, BORN, device="copy")
    reading(bench, seqref(BORN), device="copy")
    assert run(bench) == [("copy", SHARED)]


def test_a_nonce_known_to_be_shared_is_not_told_again_after_a_restart(make_bench: MakeBench) -> None:
    first = make_bench()
    reading(first, seqref(BORN))
    reading(first, seqref(BORN), device="copy")
    assert run(first) == [("copy", SHARED)]
    second = make_bench()
    reading(second, seqref(BORN, 2))
    reading(second, seqref(BORN, 2), device="copy")
    assert second.run()
    assert second.logged == []
    assert second.rows("SELECT * FROM rejection") == [("copy", SHARED, 1)]


class Nobody:
    """A ledger and births that know nothing but that everybody had a birth once."""

    def born(self, device_id: str, boot_nonce: bytes | None) -> bool:
        return boot_nonce is None

    def first_seen(self, device_id: str, boot_nonce: bytes) -> int | None:
        return None


class Counting:
    """Counters that keep each rejection."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def reject(self, device_id: str, reason: str) -> None:
        self.counted.append((device_id, reason))


class Silent:
    """A log that keeps nothing."""

    def warning(self, event: str, **fields: object) -> None: ...


def test_memory_is_bounded_and_what_is_not_watched_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "MAX_WATCHED", 10)
    monkeypatch.setattr(nonces, "MAX_OWNERS", 20)
    counting = Counting()
    watcher = Nonces(Nobody(), Nobody(), counting, Silent())
    for number in range(100):
        for device in ("a", "b"):
            watcher.meet(device, number.to_bytes(5, "big"), NOW)
    assert counting.counted.count(("", UNWATCHED)) == 200 - 10
    assert counting.counted.count(("b", SHARED)) == 100
    assert len(watcher._owners) == 20
    assert len(watcher._shared) <= 10
    watcher.look(LATER)
    assert len(watcher._watched) == 0
    assert watcher.due_unix_ns == NEVER


def test_many_boots_whose_time_is_up_are_looked_at_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    watcher = Nonces(Nobody(), Nobody(), counting, Silent())
    for number in range(500):
        watcher.meet("a", number.to_bytes(5, "big"), NOW + number)
    assert watcher.due_unix_ns == LATER
    looks = []
    while watcher.due_unix_ns < NEVER:
        watcher.look(LATER + 500)
        looks.append(len(counting.counted))
    assert looks == [200, 400, 500]
