"""What the shim talks to goes away and comes back: the broker, the trace backend, the disk."""

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable

import pytest
from services import Mosquitto

from tests.faults.fleet import NONCE, Connection, Fleet, topic
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_broker_restart_with_persistence_loses_nothing(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim
) -> None:
    broker = start_mosquitto(persistent=True)
    shim = make_shim(broker.port).start()
    fleet = Fleet(broker.port, per_second=800).start()
    for _ in range(2):
        time.sleep(0.4)
        before = len(shim.logged("subscribed"))
        broker.restart()
        until(lambda seen=before: len(shim.logged("subscribed")) > seen, "the shim is back")
    published = fleet.stop()
    until(lambda: shim.count("message") >= len(published), f"{len(published)} messages in the ledger")
    assert shim.terminate() == 0
    rows = shim.query("SELECT device_id, seq FROM message")
    assert len(rows) == len(set(rows))
    assert set(rows) == published


def test_a_shim_that_starts_before_its_broker_waits_for_it(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim
) -> None:
    broker = start_mosquitto()
    broker.stop()
    shim = make_shim(broker.port)
    shim.launch()
    lost = until(lambda: shim.logged("disconnected"), "it says that it cannot connect")
    assert "refused" in lost[0]["reason"].lower()
    broker.start()
    until(lambda: shim.logged("subscribed"), "it subscribes")
    assert shim.terminate() == 0


def test_spans_wait_while_the_trace_backend_is_down_and_all_arrive(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    listen = free_port()
    backend = make_shim(
        mosquitto.port, "--otlp-listen", f"127.0.0.1:{listen}", name="backend", topic="nowhere/{device_id}"
    )
    shim = make_shim(mosquitto.port, "--otlp", f"http://127.0.0.1:{listen}").start()
    fleet = Fleet(mosquitto.port).start()
    time.sleep(0.5)
    backend.start()
    until(lambda: backend.count("span") > 0, "the first spans arrive")
    backend.kill()
    published = fleet.stop()
    until(lambda: shim.count("message") >= len(published), "all stored")
    backend.start()
    until(lambda: backend.count("span") >= 2 * len(published), "all spans arrive")
    assert shim.terminate() == 0
    assert shim.logged("stopped")[0]["forwarded"]["pending_messages"] == 0
    ids = "SELECT trace_id, span_id, span FROM span ORDER BY 1, 2"
    assert backend.query(ids) == shim.query(ids)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux lets one set another process's limits")
def test_a_full_disk_stops_acknowledging_and_loses_nothing(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port).start()
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    fleet = Fleet(mosquitto.port).start()
    until(lambda: shim.logged("storing_waits"), "it says that it waits")
    stored = shim.count("message")
    published = fleet.stop()
    assert shim.running
    assert stored < len(published)
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, unlimited)
    until(lambda: shim.count("message") >= len(published), "all stored")
    assert shim.terminate() == 0
    assert set(shim.query("SELECT device_id, seq FROM message")) == published


def test_a_disk_that_takes_nothing_at_the_start_is_no_wrong_setting(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        shim.launch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert shim.wait() == 1
    told = shim.log_path.read_text()
    assert "check the disk" in told  # SQLite calls only ENOSPC full
    assert "then start it again" in told


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux lets one set another process's limits")
def test_a_second_signal_ends_the_shim_at_once_and_the_broker_keeps_the_rest(
    mosquitto: Mosquitto, make_shim: MakeShim
) -> None:
    shim = make_shim(mosquitto.port).start()
    resource.prlimit(shim.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    fleet = Fleet(mosquitto.port).start()
    until(lambda: shim.logged("storing_waits"), "it waits for the disk")
    published = fleet.stop()
    os.kill(shim.pid, signal.SIGTERM)
    until(lambda: _signal(shim) or not shim.running, "it ends")
    assert shim.wait() == 130, "it did not wait for the disk"
    shim.start()
    until(lambda: shim.count("message") >= len(published), "all stored")
    assert shim.terminate() == 0
    assert set(shim.query("SELECT device_id, seq FROM message")) == published


def _signal(shim: ShimProcess) -> None:
    """Once more: two signals at the same moment may arrive as one."""
    if shim.running:
        os.kill(shim.pid, signal.SIGTERM)


def test_somebody_who_looks_at_the_database_does_not_harm_it(mosquitto: Mosquitto, make_shim: MakeShim) -> None:
    shim = make_shim(mosquitto.port).start()
    device = Connection(mosquitto.port)
    for seq in range(1, 21):
        device.publish(("ref", seq), topic("ref"), b"{}", ("seqref", f"{NONCE['ref']}-{seq:08x}-03"))
        until(lambda at=seq: shim.count("message") == at, f"message {seq} is seen from outside")
    device.close()
    shim.kill()
    assert shim.count("message") == 20


def test_a_broker_that_is_not_there_is_told_with_the_remedy(make_shim: MakeShim) -> None:
    with contextlib.closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else gets the port
        shim = make_shim(unused.getsockname()[1])
        shim.launch()
        (line, *_) = until(lambda: shim.logged("disconnected"), "it says so")
    assert line["reason"].startswith("ConnectionRefusedError")
    assert line["remedy"] == "is the broker up there? check --broker"
    assert shim.terminate() == 0
