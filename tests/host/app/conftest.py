"""A shim as `motetrace run` builds it, with a broker and a log that the test plays."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from motetrace_host.core.mqtt.connection import Chunk, Published, Receivers, Subscription
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.core.mqtt.topics import TopicFilter, TopicTemplate
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.spans.protobuf import varint
from motetrace_host.core.spans.span import Span, SpanRow
from motetrace_host.core.wire.trust import TrustPolicy
from motetrace_host.network import otlp_codec
from motetrace_host.shim import config
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.build import DATABASE_NAME, build
from motetrace_host.shim.config import Config
from motetrace_host.shim.logging import Log
from motetrace_host.shim.own_ledger import OwnLedger
from motetrace_host.shim.ports import Ports
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import LoggedMessage, MessageLog
from tests import tables

NOW = 1_795_000_000_000_000_000
KEY = bytes(32)


class Bench:
    """A built shim of which only the pipeline runs; what goes to the broker and to the log is kept in lists.

    Args:
        path: of the database; the state folder is the one around it.
    """

    qos_2 = 0

    def __init__(
        self,
        path: Path,
        republish: bool = False,
        sample: HeadSettings | None = None,
        trust: Sequence[tuple[str, str]] = (),
        device_property: str = "",
        templates: Sequence[str] = ("devices/{device_id}/telemetry",),
        trailer: bool = False,
        ledger: OwnLedger | None = None,
        max_devices: int = 200_000,
    ) -> None:
        assert path.name == DATABASE_NAME
        self.path = path
        self.acknowledged: list[int] = []
        self.renewed: list[int] = []
        self.published: list[tuple[str, bytes, list[tuple[str, str]], Sequence[Any]]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.topics = [TopicTemplate(template) for template in templates]
        head = sample or HeadSettings()
        base = _settings(path.parent)
        readings = replace(
            base.readings,
            topic=tuple(self.topics),
            republish=((self.topics[0], TopicTemplate("traced/{device_id}")),) if republish else (),
            trailer=tuple(self.topics) if trailer else (),
            trust=tuple((TopicFilter(topic_filter), TrustPolicy[policy.upper()]) for topic_filter, policy in trust),
            device_property=device_property,
        )
        sampling = replace(
            base.sampling,
            sample=head.threshold,
            sample_limit=head.limit_per_s,
            sample_flag_cap=head.cap_per_minute,
            sample_device_rate=head.device_threshold,
        )
        storage = replace(base.storage, max_devices=max_devices)
        settings = replace(base, readings=readings, sampling=sampling, storage=storage)
        self.shim = build(settings, Ports(cast("Log", self), self._connect, ledger or OwnLedger()))
        self.pipeline = self.shim.pipeline
        self.reader = self.pipeline.reader
        self.journal = self.pipeline.store.journal
        self.counters = self.reader._counters
        self.device_topics = self.reader._topics
        self.inbox = self.pipeline._inbox
        self.births = self.pipeline._republisher._births
        self.nonces = self.reader._nonces
        self.head = self.device_topics.plans.head
        self.connection = self.journal._connection
        self.ledger = BootTable(self.connection)
        self.log = MessageLog(self.connection)

    @property
    def failures(self) -> list[str]:
        """Why the shim could not go on."""
        reason = self.shim._ending.reason
        return [reason] if reason else []

    def close(self) -> None:
        """Close its connections to the database."""
        self.connection.close()
        self.shim.upkeep._retention._connection.close()

    def _connect(
        self, settings: Config, client_id: str, subscriptions: Sequence[Subscription], receivers: Receivers,
        leaving: bool,
    ) -> "Bench":  # fmt: skip
        self.subscriptions, self.receivers = subscriptions, receivers
        return self

    def start(self) -> None:
        """There is nothing to connect to."""

    def stop(self, *, end_session: bool = False) -> None:
        """There is nothing to disconnect from."""

    def acknowledge(self, connection: int, packet_ids: Sequence[int]) -> None:
        self.acknowledged += packet_ids

    def renew(self, connection: int) -> None:
        self.renewed.append(connection)

    def publish(self, topic: str, payload: bytes, pairs: Sequence[tuple[str, str]], more: Sequence[Any]) -> int:
        self.published.append((topic, payload, list(pairs), more))
        return len(self.published)

    def debug(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    info = warning = error = debug

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
        self.receivers.messages(Chunk([frame], connection, at, len(frame[1]) + 120))

    def batch(self, *frames: Frame) -> Batch:
        """Messages as the reader hands them to the journal, for tests that write without the pipeline."""
        batch = Batch(1, NOW)
        self.reader.read(Chunk(frames, 1, NOW, 0), batch)
        return batch

    def answer(self, packet_id: int, refused: str = "") -> None:
        """The broker's answer to a republish."""
        self.receivers.published(Published(packet_id, refused))

    def run(self) -> bool:
        """Let the pipeline work off what is there, and end."""
        self.pipeline.start()
        return self.pipeline.stop()

    def rows(self, statement: str) -> list[Any]:
        """Ask its database; see tests/tables.py."""
        return tables.query(self.path, statement)

    def messages(self) -> list[LoggedMessage]:
        """What the log has."""
        return list(MessageLog(self.connection).entries())

    def spans(self) -> list[Span]:
        """The spans that the shim makes of what the log has, in order."""
        return [otlp_codec.unpack(SpanRow(*row)) for row in self.rows("SELECT * FROM span ORDER BY rowid")]


def _settings(state: Path) -> Config:
    """Settings as the command line gives them, on a state folder whose key is KEY."""
    state.mkdir(parents=True, exist_ok=True)
    key = state / config.KEY_NAME
    if not key.exists():
        key.write_bytes(KEY)
        key.chmod(0o600)
    return config.load(
        {"broker": "mqtt://broker", "topic": ["devices/{device_id}/telemetry"], "queue": "1000", "otlp_listen": "off"},
        {},
        state,
    )


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
    """Makes shims: `make_bench(republish=True)`; a second one continues on the same database."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(tmp_path / DATABASE_NAME, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A shim without a republish."""
    return make_bench()
