"""kill -9 at any point loses nothing that was acknowledged and counts nothing twice."""

import random
import time
from collections.abc import Callable

from services import Mosquitto

from tests.faults.fleet import Fleet, Message
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]


def settle(shim: ShimProcess, published: set[Message]) -> None:
    """Wait until the ledger has as many messages as were published."""
    until(lambda: shim.count("message") >= len(published), f"{len(published)} messages in the ledger")


def check(shim: ShimProcess, published: set[Message]) -> None:
    """The ledger is what was published, each message once, with one span of each kind."""
    rows = shim.query("SELECT device_id, seq FROM message")
    assert len(rows) == len(set(rows)), "a message stands in the ledger twice"
    assert set(rows) == published
    for name in ("device_publish", "broker_forward"):
        of_spans = shim.query("SELECT trace_id FROM span WHERE name = ?", name)
        assert len(of_spans) == len(published)
        assert sorted(of_spans) == sorted(shim.query("SELECT trace_id FROM message"))
    boots = shim.query("SELECT device_id, count(DISTINCT boot_nonce) FROM message GROUP BY 1")
    assert dict(boots) == {"tp": 1, "ref": 1, "json": 1, "bare": 1}


def test_kill_minus_nine_in_mid_stream_loses_nothing_and_counts_nothing_twice(
    mosquitto: Mosquitto, make_shim: MakeShim, chance: random.Random
) -> None:
    shim = make_shim(mosquitto.port).start()
    fleet = Fleet(mosquitto.port).start()
    for _ in range(5):
        time.sleep(chance.uniform(0.05, 0.7))
        shim.kill()
        shim.start()
    published = fleet.stop()
    settle(shim, published)
    assert shim.terminate() == 0
    check(shim, published)


def test_kill_minus_nine_while_it_works_off_a_backlog_loses_nothing(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port, "--receive-maximum", "200").start()
    shim.kill()
    fleet = Fleet(mosquitto.port, per_second=4000).start()
    time.sleep(1.5)
    published = fleet.stop()
    for stop_at in (0.1, 0.3, 0.6):
        shim.launch()
        until(lambda at=stop_at: shim.count("message") >= at * len(published), "part of the backlog")
        shim.kill()
    shim.start()
    settle(shim, published)
    assert shim.terminate() == 0
    check(shim, published)


def test_sigterm_under_load_loses_nothing(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port).start()
    fleet = Fleet(mosquitto.port).start()
    for _ in range(3):
        time.sleep(0.5)
        assert shim.terminate() == 0
        assert shim.logged("stopped")[0]["drained"] is True
        shim.start()
    published = fleet.stop()
    settle(shim, published)
    assert shim.terminate() == 0
    check(shim, published)
