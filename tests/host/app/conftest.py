"""A pipeline with real reader, ledger and spans, and with a broker that the test plays."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from motetrace_host.core.link import Delivery, Published
from motetrace_host.core.publish_packet import PublishPacket
from motetrace_host.core.topic import TopicTemplate
from motetrace_host.edges import database
from motetrace_host.edges.ledger import Ledger
from motetrace_host.shim.answers import Answers
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.births import Births
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.pipeline import Pipeline, Place
from motetrace_host.shim.reader import Reader, Tenant
from motetrace_host.shim.republisher import Republisher
from motetrace_host.shim.tally import Tally

NOW = 1_795_000_000_000_000_000


class Bench:
    """All parts of a pipeline, with what goes to the broker and to the log kept in lists."""

    def __init__(self, path: Path, republish: bool = False) -> None:
        self.connection = database.connect(path)
        self.ledger = Ledger(self.connection)
        self.tally = Tally()
        self.births = Births(self.ledger)
        self.bare_seq = BareSeq(self.ledger)
        self.topics = [TopicTemplate("devices/{device_id}/telemetry")]
        self.reader = Reader(
            self.topics,
            TopicTemplate("motetrace/{device_id}/birth"),
            Tenant("", bytes(32)),
            self.bare_seq,
            Answers(self.ledger),
            self.births,
            self.tally,
        )
        self.journal = Journal(self.connection, self.births, self.bare_seq, self.tally)
        self.inbox = Inbox(1_000)
        self.acknowledged: list[int] = []
        self.renewed: list[int] = []
        self.published: list[tuple[str, bytes, list[tuple[str, str]], Sequence[Any]]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[str] = []
        routes = [(self.topics[0].template, TopicTemplate("traced/{device_id}"))] if republish else []
        self.pipeline = Pipeline(
            self.inbox,
            self.reader,
            self.births,
            self.journal,
            self,
            Republisher(routes, self.publish),
            self.tally,
            Place("broker:1883", "shim"),
            self,
            on_failure=self.failures.append,
        )

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += [delivery.packet.packet_id for delivery in deliveries]

    def renew(self, connection: int) -> None:
        self.renewed.append(connection)

    def publish(self, topic: str, payload: bytes, pairs: Sequence[tuple[str, str]], more: Sequence[Any]) -> int:
        self.published.append((topic, payload, list(pairs), more))
        return len(self.published)

    def debug(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    warning = error = debug

    def send(
        self,
        packet_id: int,
        *pairs: tuple[str, str],
        payload: bytes = b"x",
        topic: str = "devices/s/telemetry",
        qos: int = 1,
        dup: bool = False,
        retain: bool = False,
        connection: int = 1,
        fault: str = "",
    ) -> None:
        """A message from the broker."""
        packet = PublishPacket(topic, packet_id, qos, dup, retain, payload, list(pairs), (), fault)
        self.inbox.put([Delivery(packet, connection, NOW)])

    def answer(self, packet_id: int, refused: str = "") -> None:
        """The broker's answer to a republish."""
        self.inbox.put_published(Published(packet_id, refused))

    def run(self) -> bool:
        """Let the pipeline work off what is there, and end."""
        self.pipeline.start()
        return self.pipeline.stop()

    def rows(self, statement: str) -> list[Any]:
        return self.connection.execute(statement).fetchall()


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes pipelines: `make_bench(republish=True)`; a second one continues on the same database."""
    made: list[Bench] = []

    def make(**options: bool) -> Bench:
        made.append(Bench(tmp_path / "motetrace.db", **options))
        return made[-1]

    yield make
    for bench in made:
        bench.connection.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A pipeline without a republish."""
    return make_bench()
