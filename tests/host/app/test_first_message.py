"""What the first message of a device asks of the database: little, and nothing that is known already."""

import random
from collections.abc import Callable
from typing import cast

import pytest

from motetrace_host.shim.database_retry import DatabaseRetry, RetryingReads
from motetrace_host.shim.logging import Log
from motetrace_host.storage.device_lookup import DeviceLookup
from tests.host.app.conftest import NOW, Bench, publish_frame

MakeBench = Callable[..., Bench]
DEVICE = "s"
NONCE, OTHER = b"\x0a\x01\x02\x03\x04", b"\x0b\x01\x02\x03\x04"


def take(bench: Bench, seq: int, device: str = DEVICE) -> None:
    """Read and write one message."""
    context = [("seqref", f"{NONCE.hex()}-{seq:08x}-03")]
    bench.journal.write(
        bench.batch(publish_frame(f"devices/{device}/telemetry", 1, 1, False, False, b"x", context, ""))
    )


def questions(bench: Bench) -> list[str]:
    """From now on, the statements that read devices and places."""
    asked: list[str] = []
    bench.connection.set_trace_callback(
        lambda statement: (
            asked.append(statement) if "FROM place" in statement or "FROM device_boot" in statement else None
        )
    )
    return asked


def test_a_new_device_is_looked_up_in_two_questions_and_later_messages_in_none(bench: Bench) -> None:
    asked = questions(bench)
    take(bench, 1)
    assert len(asked) == 2, asked
    take(bench, 2)
    assert len(asked) == 2, asked


def test_after_a_restart_it_is_known_again(make_bench: MakeBench) -> None:
    take(make_bench(), 1)
    bench = make_bench()
    asked = questions(bench)
    take(bench, 2)
    assert 2 <= len(asked) <= 4, asked
    assert [boot.boot_nonce for boot in bench.ledger.boots(DEVICE)] == [NONCE]


def reads(bench: Bench) -> RetryingReads:
    return RetryingReads(bench.ledger, bench.log, DatabaseRetry(cast("Log", bench), lambda: 0))


def test_what_was_told_holds_until_something_is_written(bench: Bench) -> None:
    asked = reads(bench)
    assert asked.latest_nonces(DEVICE, 16) == []
    assert asked.first_seen(DEVICE, NONCE) is None
    bench.ledger.add_boots([(DEVICE, NONCE, False, NOW)])
    assert asked.first_seen(DEVICE, NONCE) == NOW
    assert asked.latest_nonces(DEVICE, 16) == [NONCE]
    assert (asked.first_seen(DEVICE, NONCE), asked.first_seen(DEVICE, OTHER)) == (NOW, None)
    assert asked.first_seen("another", NONCE) is None


def test_boots_beyond_the_latest_are_asked_for(bench: Bench) -> None:
    nonces = [bytes((number,)) * 5 for number in range(1, 20)]
    bench.ledger.add_boots((DEVICE, nonce, False, NOW + number) for number, nonce in enumerate(nonces))
    asked = reads(bench)
    assert len(asked.latest_nonces(DEVICE, 16)) == 16
    assert [asked.first_seen(DEVICE, nonce) for nonce in nonces] == [NOW + number for number in range(19)]


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
def test_places_read_ahead_are_those_read_one_by_one(bench: Bench, order: str) -> None:
    for device in range(40):
        take(bench, 1, f"sensor-{device}")
    numbers = sorted(bench.log.places())
    if order == "shuffled":
        random.Random(1).shuffle(numbers)
    devices = DeviceLookup(bench.connection)
    assert [devices.find(number, NONCE, False)[:3] for number in numbers] == [bench.log.place(n)[1:] for n in numbers]
    assert devices.find(99, NONCE, False).device_id == ""
