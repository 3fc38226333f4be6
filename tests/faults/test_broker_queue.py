"""A shim that stalls, a broker whose queue for it is too short: what the broker drops is noticed, told and counted."""

import os
import signal
from collections.abc import Callable

import pytest
from services import Mosquitto

from tests.faults.fleet import Connection, topic
from tests.faults.shim_process import ShimProcess
from tests.waiting import until

MakeShim = Callable[..., ShimProcess]
FLOOD = 3_000
QUEUE = 100


def publish(device: Connection, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        device.publish(("ref", seq), topic("ref"), b"{}", ("seqref", f"0a01020305-{seq:08x}-03"))
    until(lambda: not device.waiting, "the broker has acknowledged them all")


@pytest.mark.parametrize("reader", ["bulk", "paho"])
def test_what_the_broker_drops_while_the_shim_stalls_is_told_with_the_remedy_and_counted(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim, reader: str
) -> None:
    broker = start_mosquitto(settings=f"max_queued_messages {QUEUE}\nsys_interval 1")
    shim = make_shim(
        broker.port, "--receive", reader, "--receive-maximum", "20", "--log-level", "debug"
    ).start()  # fmt: skip
    device = Connection(broker.port)
    publish(device, 1, 10)
    until(lambda: shim.count("message") == 10, "all is well")
    os.kill(shim.pid, signal.SIGSTOP)
    try:
        publish(device, 11, FLOOD)
    finally:
        os.kill(shim.pid, signal.SIGCONT)
    device.close()
    (warning,) = until(lambda: shim.logged("broker_dropped_messages"), "it warns")
    assert 0 < warning["dropped"] < FLOOD
    assert "max_queued_messages" in warning["remedy"]
    # Some of it may be said first; the rest within a second, or when mosquitto is asked the next time.
    until(
        lambda: shim.logged("broker_queue")[-1]["dropped"] == FLOOD - shim.count("message"),
        "all is counted",
    )
    assert shim.terminate() == 0
    assert shim.count("message") < FLOOD
    assert shim.logged("stopped")[0]["broker_dropped"] == FLOOD - shim.count("message")


def test_a_broker_that_says_nothing_of_itself_is_no_fault(
    start_mosquitto: Callable[..., Mosquitto], make_shim: MakeShim
) -> None:
    broker = start_mosquitto(settings="sys_interval 0")  # mosquitto then publishes nothing there
    shim = make_shim(broker.port).start()
    device = Connection(broker.port)
    publish(device, 1, 10)
    device.close()
    until(lambda: shim.count("message") == 10, "all is well")
    assert shim.terminate() == 0
    assert shim.logged("stopped")[0]["broker_dropped"] == 0
    assert not shim.logged("subscription_refused")
    assert not shim.logged("disconnected")
