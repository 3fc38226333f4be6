"""A shim that leaves its group ends its session when nothing of its share is left, and no sooner."""

from dataclasses import dataclass
from typing import cast

import pytest

from motetrace_host.cluster.departure import QUIET_S, Departure
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.logging import Log


@dataclass
class Leaving:
    """A departure with a clock of its own; the test plays broker, pipeline and trace backend."""

    now_s: float = 0.0
    unsent: int = 0

    def __post_init__(self) -> None:
        self.inbox, self.counters = Inbox(10), Counters(cast("Log", None))
        self.departure = Departure(self.inbox, self.counters, lambda: self.unsent, lambda: self.now_s)
        self.departure.connection_event("connected")
        self.departure.connection_event("unsubscribed")

    def get(self, messages: int, connection: int = 1) -> None:
        self.departure.put(Chunk([(0x32, b"")] * messages, connection, 0, messages))

    def store(self) -> None:
        for chunk in self.inbox.take(1_000, 0, 0)[0]:
            self.counters.received += len(chunk.frames)
        self.departure.stored()

    def over_after(self, seconds: float) -> bool:
        self.now_s += seconds
        return self.departure.over


@pytest.fixture
def leaving() -> Leaving:
    return Leaving()


def test_it_is_over_when_nothing_came_for_a_while(leaving: Leaving) -> None:
    assert not leaving.over_after(QUIET_S - 0.1)
    assert leaving.over_after(0.1)


def test_what_came_is_stored_first(leaving: Leaving) -> None:
    leaving.get(3)
    assert not leaving.over_after(10 * QUIET_S), "the ledger may be out of reach: the broker waits with the rest"
    leaving.store()
    assert leaving.over_after(0)
    leaving.get(1)
    leaving.store()
    assert not leaving.over_after(QUIET_S / 2), "there may be more"


def test_what_the_inbox_held_back_comes_again_and_is_waited_for(leaving: Leaving) -> None:
    leaving.get(10)
    leaving.get(4)
    assert leaving.inbox.held_back == 4
    leaving.store()
    leaving.departure.connection_event("disconnected")
    assert not leaving.over_after(10 * QUIET_S), "the broker has not repeated them yet"
    leaving.departure.connection_event("connected")
    leaving.departure.connection_event("unsubscribed")
    leaving.get(4, connection=2)
    assert not leaving.over_after(QUIET_S)
    leaving.store()
    assert leaving.over_after(0)


def test_it_waits_for_the_trace_backend(leaving: Leaving) -> None:
    leaving.unsent = 2
    assert not leaving.over_after(QUIET_S)
    leaving.unsent = 0
    assert leaving.over_after(0)


def test_without_an_answer_of_the_broker_it_never_is(leaving: Leaving) -> None:
    leaving.departure.connection_event("disconnected")
    assert not leaving.over_after(1_000)
    leaving.departure.connection_event("connected")
    assert not leaving.over_after(1_000)
