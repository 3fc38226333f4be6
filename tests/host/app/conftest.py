"""A pipeline with real reader, ledger and spans, and with a broker that the test plays."""

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from motetrace_host.cluster.shared_journal import SharedJournal, SharedLedger
from motetrace_host.core.mqtt.connection import Chunk, Published
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.core.mqtt.topic_filter import TopicFilter
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.sampling.head import HeadSampler, HeadSettings
from motetrace_host.core.spans.protobuf import varint
from motetrace_host.core.spans.span import Span, SpanRow
from motetrace_host.core.wire.trust import Policy, Trust
from motetrace_host.network import otlp_codec
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.births import Births
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import DatabaseRetry, RetryingReads
from motetrace_host.shim.device_topics import DeviceTopics, Tenant
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.pipeline import Pipeline, poisoned
from motetrace_host.shim.reader import Reader
from motetrace_host.shim.republisher import Republisher
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.storage import database
from motetrace_host.storage.boot_table import Ledger
from motetrace_host.storage.message_log import Entry, MessageLog
from motetrace_host.storage.sqlite_ledger import SqliteSeen
from tests import tables

NOW = 1_795_000_000_000_000_000


class Bench:
    """All parts of a pipeline, with what goes to the broker and to the log kept in lists."""

    def __init__(
        self,
        path: Path,
        republish: bool = False,
        sample: HeadSettings | None = None,
        trust: Sequence[tuple[str, str]] = (),
        device_property: str = "",
        templates: Sequence[str] = ("devices/{device_id}/telemetry",),
        trailer: bool = False,
        shared: SharedLedger | None = None,
        max_devices: int = 200_000,
    ) -> None:
        self.path = path
        self.connection = database.connect(path)
        self.ledger = Ledger(self.connection)
        self.log = MessageLog(self.connection)
        self.counters = Counters()
        self.inbox = Inbox(1_000)
        retry = DatabaseRetry(self, lambda: len(self.inbox))
        asked = RetryingReads(self.ledger, self.log, retry)
        self.bare_seq = BareSeq(asked)
        answers = CommandReplies(asked, max_devices)

        def heard(device_id: str, boot_nonce: bytes, payload: bytes) -> None:
            answers.learn(device_id, boot_nonce)
            self.nonces.announced(device_id, boot_nonce)
            self.counters.births += 1

        self.births = Births(asked, TopicTemplate("motetrace/{device_id}/birth"), heard)
        self.nonces = Nonces(self.births, asked, self.counters.reject, self.notice)
        self.topics = [TopicTemplate(template) for template in templates]
        tenant = Tenant("", bytes(32))
        self.head = HeadSampler(sample or HeadSettings())
        rules = [(TopicFilter(topic_filter), Policy[policy.upper()]) for topic_filter, policy in trust]
        plain = not (republish or trailer)
        self.places = places = DeviceTopics(
            asked,
            self.topics,
            tenant,
            lambda template: plain,
            answers.tails,
            SamplingPlans(self.head, asked),
            self.births.live,
            Trust(rules),
            max_devices,
        )
        self.acknowledged: list[int] = []
        self.renewed: list[int] = []
        self.published: list[tuple[str, bytes, list[tuple[str, str]], Sequence[Any]]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[str] = []
        routes = [(self.topics[0].template, TopicTemplate("traced/{device_id}"))] if republish else []
        self.reader = Reader(
            places,
            [self.births],
            tenant,
            self.bare_seq,
            answers,
            self.counters,
            self.nonces,
            with_trailer=frozenset(templates if trailer else ()),
            republished=frozenset(source for source, _ in routes),
            on_poison=lambda device_id, error: poisoned(self, device_id, error),
            device_property=device_property,
            from_devices=[self.births],
            expiry_s=self.births.expiry_s,
        )
        self.bare_seq_shared: list[str] = []
        parts = (places, self.bare_seq, [self.births], self.counters)
        self.journal: Journal = (
            Journal(self.connection, SqliteSeen(self.connection), *parts)
            if shared is None
            else SharedJournal(self.connection, shared, *parts, bytes(16), self.bare_seq_shared.extend)
        )
        self.pipeline = Pipeline(
            self.inbox,
            self.reader,
            self.births,
            self.journal,
            self,
            Republisher(routes, self.publish),
            self.counters,
            self,
            retry,
            on_failure=self.failures.append,
        )

    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None:
        self.acknowledged += packet_ids

    def renew(self, connection: int) -> None:
        self.renewed.append(connection)

    def publish(self, topic: str, payload: bytes, pairs: Sequence[tuple[str, str]], more: Sequence[Any]) -> int:
        self.published.append((topic, payload, list(pairs), more))
        return len(self.published)

    def debug(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    warning = error = debug

    def notice(self, event: str, device_id: str, boot_nonce: bytes, other: str) -> None:
        self.logged.append((event, {"device.id": device_id, "boot": boot_nonce.hex(), "other": other}))

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
        at: int = NOW,
    ) -> None:
        """A message from the broker."""
        frame = publish_frame(topic, packet_id, qos, dup, retain, payload, pairs, fault)
        self.inbox.put(Chunk([frame], connection, at, len(frame[1]) + 120))

    def batch(self, *frames: Frame) -> Batch:
        """Messages as the reader hands them to the journal, for tests that write without the pipeline."""
        batch = Batch(1, NOW)
        self.reader.read(Chunk(frames, 1, NOW, 0), batch)
        return batch

    def answer(self, packet_id: int, refused: str = "") -> None:
        """The broker's answer to a republish."""
        self.inbox.put_published(Published(packet_id, refused))

    def run(self) -> bool:
        """Let the pipeline work off what is there, and end."""
        self.pipeline.start()
        return self.pipeline.stop()

    def rows(self, statement: str) -> list[Any]:
        """Ask its database; see tests/tables.py."""
        return tables.query(self.path, statement)

    def messages(self) -> list[Entry]:
        """What the log has."""
        return list(self.log.entries())

    def spans(self) -> list[Span]:
        """The spans that the shim makes of what the log has, in order."""
        return [otlp_codec.unpack(SpanRow(*row)) for row in self.rows("SELECT * FROM span ORDER BY rowid")]


def publish_frame(
    topic: str,
    packet_id: int,
    qos: int,
    dup: bool,
    retain: bool,
    payload: bytes,
    pairs: Sequence[tuple[str, str]],
    fault: str = "",
) -> Frame:
    """A PUBLISH as the broker sends it; with a fault that a broker would hardly let through."""
    properties = b"".join(
        b"\x26" + b"".join(struct.pack(">H", len(part.encode())) + part.encode() for part in pair) for pair in pairs
    )
    if fault == "properties_too_many":
        properties += b"\x26\x00\x01k\x00\x01v" * 1_000
    name = b"\xff" if fault == "topic_not_utf8" else topic.encode()
    body = struct.pack(">H", len(name)) + name
    body += struct.pack(">H", packet_id) if qos else b""
    return 0x30 | dup << 3 | qos << 1 | retain, body + varint(len(properties)) + properties + payload


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes pipelines: `make_bench(republish=True)`; a second one continues on the same database."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path / "motetrace.db", **options))
        return made[-1]

    yield make
    for bench in made:
        bench.connection.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A pipeline without a republish."""
    return make_bench()
