"""A broker that sends only so much ahead is not waited for in vain, and no other is mistaken for such a one."""

import random
import threading

from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.inflight_window import InflightWindow

MOST = 4_000


def batches(window: InflightWindow, arrivals: "list[int]") -> list[int]:
    """Take batches where so many messages come within each time for company; gives how many were enough for each."""
    enough = []
    for messages in arrivals:
        enough.append(window.enough)
        window.took(messages)
    return enough


def test_a_narrow_window_is_learned_and_then_no_time_is_lost() -> None:
    enough = batches(InflightWindow(MOST), [10] * 60)
    assert enough[:6] == [MOST] * 6
    assert enough[6:] == [10] * 54


def test_it_is_doubted_now_and_then() -> None:
    enough = batches(InflightWindow(MOST), [10] * 1_000)
    assert 5 < enough.count(MOST) - 6 < 30


def test_more_at_once_ends_it() -> None:
    window = InflightWindow(MOST)
    batches(window, [10] * 20)
    assert window.enough == 10
    window.took(11)
    assert window.enough == MOST


def test_a_window_that_became_narrower_is_learned_anew() -> None:
    window = InflightWindow(MOST)
    assert batches(window, [32] * 20 + [10] * 20)[-1] == 10


def test_messages_that_come_one_by_one_are_no_window() -> None:
    assert set(batches(InflightWindow(MOST), [1] * 100)) == {MOST}


def test_a_stream_of_changing_batches_is_no_window() -> None:
    draw = random.Random(1)
    assert set(batches(InflightWindow(MOST), [draw.randrange(30, 50) for _ in range(1_000)])) == {MOST}


def test_a_stream_that_was_mistaken_for_a_window_is_found_out() -> None:
    """Batches end at 4 because 4 were said to be enough; in the time for company 9 would have come."""
    window = InflightWindow(MOST)
    batches(window, [4] * 10)
    assert window.enough == 4
    enough = []
    for _ in range(200):
        enough.append(window.enough)
        window.took(4 if window.enough == 4 else 9 + len(enough) % 2)
    assert set(enough[70:]) == {MOST}


def test_the_inbox_waits_for_no_more_than_is_enough() -> None:
    inbox = Inbox(1_000)
    frame = (0x32, b"")
    inbox.put(Chunk([frame] * 3, 1, 0, 10))
    later = threading.Timer(0.05, lambda: inbox.put(Chunk([frame] * 7, 1, 0, 10)))
    later.start()
    chunks, _ = inbox.take(MOST, 600.0, 600.0, enough=10)  # for more it would wait beyond this test's time
    assert [len(chunk.frames) for chunk in chunks] == [3, 7]
    inbox.put(Chunk([frame] * 12, 1, 0, 10))
    chunks, _ = inbox.take(MOST, 20.0, 20.0, enough=10)
    assert [len(chunk.frames) for chunk in chunks] == [12], "what is there already is taken"
    later.join()
