"""The parts behind the broker's connection, put together: what listens, what decides, what writes.

`app` starts and stops them; tests put them together by themselves (tests/host/app/conftest.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from motetrace_host.cluster.shared_journal import SharedJournal, SharedLedger
from motetrace_host.cluster.shared_ledger import fingerprint
from motetrace_host.core.printable import printable
from motetrace_host.core.sampling.head import HeadSampler, HeadSettings
from motetrace_host.core.wire.trust import Trust
from motetrace_host.network.subscriber import Subscriber
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.births import Births
from motetrace_host.shim.broker_events import BrokerEvents
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.config import Config
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import DatabaseRetry, RetryingReads
from motetrace_host.shim.device_stats import DeviceStatistics
from motetrace_host.shim.device_topics import DeviceTopics, Tenant
from motetrace_host.shim.hop_reports import HopReports
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.journal import Journal
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.pipeline import Log, Pipeline, poisoned
from motetrace_host.shim.reader import Reader
from motetrace_host.shim.republisher import Republisher
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.shim.sampling_topics import DesiredTopic, ReportedTopic
from motetrace_host.shim.side_topic import BatchParticipant, SideTopic
from motetrace_host.storage import hop_reports
from motetrace_host.storage.boot_table import Ledger
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.sqlite_ledger import SqliteSeen


@dataclass(frozen=True, slots=True)
class Listeners:
    """What hears the messages beside the readings.

    Attributes:
        from_devices: those that hear devices. side_topics: all of them. keepers: those that write something down.
    """

    head: HeadSampler
    answers: CommandReplies
    births: Births
    nonces: Nonces
    from_devices: tuple[SideTopic, ...]
    side_topics: tuple[SideTopic, ...]
    keepers: tuple[BatchParticipant, ...]


def head(config: Config) -> HeadSampler:
    """Make the head of the sampling."""
    return HeadSampler(
        HeadSettings(
            config.sample, config.sample_limit, config.sample_flag_cap, config.sample_device_rate, config.max_devices
        )
    )


def listeners(
    config: Config,
    connection: sqlite3.Connection,
    retry: DatabaseRetry,
    sampler: HeadSampler,
    counters: Counters,
    *,
    on_birth: Callable[[], None],
    on_nonce: Callable[[str, str, bytes, str], None],
) -> Listeners:
    """Make what listens; `on_birth` is told that some boot's attributes changed, `on_nonce` what `Nonces` notices."""
    ledger = RetryingReads(Ledger(connection), MessageLog(connection), retry)
    answers = CommandReplies(ledger, config.max_devices)
    reported = ReportedTopic(config.prefix, sampler)

    def heard(device_id: str, boot_nonce: bytes, payload: bytes) -> None:
        answers.learn(device_id, boot_nonce)
        nonces.announced(device_id, boot_nonce)
        reported.birth(device_id, payload)
        counters.births += 1
        on_birth()

    births = Births(ledger, config.birth_topic, heard)
    nonces = Nonces(births, ledger, counters.reject, on_nonce)
    hops = HopReports(config.prefix, hop_reports.load(connection))
    statistics = DeviceStatistics(config.prefix)
    drops = BrokerEvents(config.prefix, config.topics)
    keepers = (births, hops, statistics, drops)
    side_topics = (*keepers, DesiredTopic(config.prefix, sampler), reported)
    return Listeners(sampler, answers, births, nonces, (births, statistics, reported), side_topics, keepers)


def pipeline(
    config: Config,
    connection: sqlite3.Connection,
    retry: DatabaseRetry,
    tenant: Tenant,
    inbox: Inbox,
    listening: Listeners,
    subscriber: Subscriber,
    counters: Counters,
    log: Log,
    shared: SharedLedger | None = None,
    *,
    on_failure: Callable[[str], None],
    on_stored: Callable[[], None],
) -> Pipeline:
    """Make the pipeline, which owns the connection from then on."""
    asked = RetryingReads(Ledger(connection), MessageLog(connection), retry)
    bare_seq = BareSeq(asked)
    clones = CloneWatch(counters, log)
    routes = [(source.template, target) for source, target in config.republish]
    republished = frozenset(source for source, _ in routes)
    with_trailer = frozenset(topic.template for topic in config.trailer)
    special = republished | with_trailer
    places = DeviceTopics(
        asked,
        config.topics,
        tenant,
        is_plain=lambda template: template not in special,
        tails=listening.answers.tails,
        plans=SamplingPlans(listening.head, asked),
        live=listening.births.live,
        trust=Trust(config.trust),
        max_places=config.max_devices,
    )
    reader = Reader(
        places,
        listening.side_topics,
        tenant,
        bare_seq,
        listening.answers,
        counters,
        listening.nonces,
        with_trailer,
        republished,
        on_poison=lambda device_id, error: poisoned(log, device_id, error),
        device_property=config.device_property,
        from_devices=listening.from_devices,
        clones=clones,
        expiry_s=listening.births.expiry_s,
    )
    parts = (places, bare_seq, (*listening.keepers, clones), counters)
    if shared is None:
        journal = Journal(connection, SqliteSeen(connection), *parts)
    else:
        mark = fingerprint(tenant.key, tenant.name)
        journal = SharedJournal(connection, shared, *parts, mark, lambda devices: _bare_seq_shared(log, devices))
    return Pipeline(
        inbox,
        reader,
        listening.births,
        journal,
        subscriber,
        Republisher(routes, subscriber.publish),
        counters,
        log,
        retry,
        log_messages=config.log_level == "debug",
        on_failure=on_failure,
        on_stored=on_stored,
    )


def _bare_seq_shared(log: Log, devices: set[str]) -> None:
    log.warning(
        "bare_seq_shared",
        **{"device.id": printable(min(devices))},
        devices=len(devices),
        reason="another shim reads this device too, and each infers boots of its own: losses are false",
        remedy="let the broker keep a device on one shim, read such topics with one shim, or send a seqref",
    )
