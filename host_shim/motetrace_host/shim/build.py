"""A shim put together from its settings and its ports; `motetrace run` and the tests use the same."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.mqtt.connection import Receivers, Subscription
from motetrace_host.core.sampling.head import HeadSampler
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.wire.trust import TrustRules
from motetrace_host.network.otlp_forwarder import traces_url
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch_store import BatchStore
from motetrace_host.shim.births import Births
from motetrace_host.shim.boot_runs import BootRuns
from motetrace_host.shim.broker_events import BrokerEvents
from motetrace_host.shim.broker_watch import BrokerWatch
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.config import KEY_NAME, Config
from motetrace_host.shim.connection_log import ConnectionLog
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import DatabaseRetry, RetryingReads
from motetrace_host.shim.device_stats import DeviceStatistics
from motetrace_host.shim.device_topics import DeviceTopics, Tenant, TopicRules
from motetrace_host.shim.fast_path import FastPath
from motetrace_host.shim.hop_reports import HopReports
from motetrace_host.shim.identifier import Identifier
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.logging import Log
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.pipeline import Pipeline
from motetrace_host.shim.ports import BrokerConnection, Ports
from motetrace_host.shim.republisher import Republisher
from motetrace_host.shim.retention import Limits, Retention
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.shim.sampling_topics import DesiredTopic, ReportedTopic
from motetrace_host.shim.service import Ending, Shim, Upkeep
from motetrace_host.shim.side_topic import SideTopic
from motetrace_host.shim.slow_path import SlowPath
from motetrace_host.shim.span_exchange import SpanExchange
from motetrace_host.storage import database, secret_files, side_tables, state_folder
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import MessageLog
from motetrace_host.storage.run_settings import RunSettings

DATABASE_NAME = "motetrace.db"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Listeners:
    """What takes in the messages beside the readings, and what that is written with.

    Attributes:
        connection: to the database; of the pipeline, once that runs.
        repeated: how many reports and broker events came again, and were not counted twice.
    """

    connection: sqlite3.Connection
    retry: DatabaseRetry
    reads: RetryingReads
    counters: Counters
    head: HeadSampler
    replies: CommandReplies
    births: Births
    nonces: Nonces
    side_topics: tuple[SideTopic, ...]
    repeated: Callable[[], int]


def build(config: Config, ports: Ports) -> Shim:
    """Make a shim on the state folder of its settings; `Shim.run` starts it.

    Raises:
        StoreError, OperatorError, OSError: a part cannot be had.
    """
    storage, address = config.storage, config.connection.broker
    tenant = Tenant(storage.tenant, _key(config))
    client_id = config.connection.client_id or state_folder.client_id(storage.state)
    where = ShimIdentity(f"{address.host}:{address.port}", client_id)
    path, log, ending = storage.state / DATABASE_NAME, ports.log, Ending(ports.stop)
    connection = database.connect(path)
    with database.translated():
        counters = Counters(log, {device for device, _, _ in side_tables.REJECTIONS.read(connection)})
    inbox = Inbox(config.connection.queue)
    head = HeadSampler(config.sampling.head_settings(storage.max_devices))
    spans = SpanExchange(config, connection, path, where, head, ports.ledger, log)
    membership = ports.membership(inbox, counters, spans.unsent)
    listeners = _listeners(config, database.connect(path), head, counters, inbox, spans.births_changed, log)
    connection_log = ConnectionLog(log, where.broker, address.tls)

    def on_connection(event: str, event_fields: dict[str, Any]) -> None:
        membership.connection_event(event)
        if event == "refused":
            ending.fail(f"broker {where.broker}: {event_fields['reason']}")
        else:
            connection_log.record(event, event_fields)

    def on_stored() -> None:
        spans.notify()
        membership.stored()

    broker_watch = BrokerWatch(log)
    receivers = Receivers(membership.put, inbox.put_published, on_connection, broker_watch.receive)
    broker = ports.connect(config, client_id, _subscriptions(config, listeners), receivers, membership.leaving)
    pipeline = _pipeline(config, ports, tenant, inbox, listeners, broker, ending.fail, on_stored)
    with database.transaction(connection):
        RunSettings(connection).note(settings_in_force(config, where) | ports.ledger.settings())
    limits = Limits(
        storage.keep * _DAY_MS, storage.max_messages, storage.max_spans, ledger_is_here=not ports.ledger.is_shared
    )
    retention = Retention(connection, limits, ending.stop.wait, lambda gone: log.info("forgetting", **gone))
    summaries: list[Callable[[], dict[str, Any]]] = [
        counters.summary,
        inbox.summary,
        lambda: {"qos_2": broker.qos_2, "broker_dropped": broker_watch.dropped},
        lambda: {"repeated": listeners.repeated(), "sampling_forgotten": head.forgotten},
        spans.summary,
    ]
    started = {
        "broker": where.broker,
        "topics": [topic.template for topic in config.readings.topics],
        "client_id": client_id,
        "state": str(storage.state),
        "ledger": ports.ledger.name,
    }
    upkeep = Upkeep(log, retention, head, summaries)
    return Shim(log, ending, pipeline, broker, spans, membership, upkeep, started)


def _listeners(
    config: Config,
    connection: sqlite3.Connection,
    head: HeadSampler,
    counters: Counters,
    inbox: Inbox,
    on_birth: Callable[[], None],
    log: Log,
) -> Listeners:
    prefix = config.readings.prefix
    retry = DatabaseRetry(log, lambda: len(inbox))
    reads = RetryingReads(BootTable(connection), MessageLog(connection), retry)
    replies = CommandReplies(reads, config.storage.max_devices)
    reported = ReportedTopic(prefix, head)

    def on_boot(device_id: str, boot_nonce: bytes, payload: bytes) -> None:
        replies.learn(device_id, boot_nonce)
        nonces.announced(device_id, boot_nonce)
        reported.birth(device_id, payload)
        counters.births += 1
        on_birth()

    births = Births(reads, prefix, on_boot)
    nonces = Nonces(births, reads, counters, log)
    reports = HopReports(prefix, side_tables.counted_reports(connection))
    statistics, drops = DeviceStatistics(prefix), BrokerEvents(prefix, config.readings.topics)
    side_topics = (births, reports, statistics, drops, DesiredTopic(prefix, head), reported)
    return Listeners(
        connection, retry, reads, counters, head, replies, births, nonces, side_topics,
        lambda: reports.repeated + drops.repeated,
    )  # fmt: skip


def _subscriptions(config: Config, listeners: Listeners) -> list[Subscription]:
    # Side topics first: what they bring belongs on the spans of the readings that follow.
    subscriptions = [
        # What the broker keeps is for each shim to know; what passes by is for one of a group to count.
        Subscription(side.template.filter, retained=True)
        if side.retained
        else Subscription(config.cluster.on_share(side.template.filter))
        for side in listeners.side_topics
    ]
    return subscriptions + [Subscription(config.cluster.on_share(topic.filter)) for topic in config.readings.topics]


def _pipeline(
    config: Config,
    ports: Ports,
    tenant: Tenant,
    inbox: Inbox,
    listeners: Listeners,
    broker: BrokerConnection,
    on_failure: Callable[[str], None],
    on_stored: Callable[[], None],
) -> Pipeline:
    """Make the pipeline, which owns the connection of `listeners` from then on."""
    log, counters, reads, births = ports.log, listeners.counters, listeners.reads, listeners.births
    readings = config.readings
    routes = [(source.template, target) for source, target in readings.republish]
    trailer = frozenset(topic.template for topic in readings.trailer)
    rules = TopicRules(
        readings.topics,
        TrustRules(readings.trust),
        trailer,
        frozenset(source for source, _ in routes),
        readings.device_property,
    )
    bare_seq, clones = BareSeq(reads), CloneWatch(counters, log)
    plans = SamplingPlans(listeners.head, reads)
    boots = BootRuns(births.live, listeners.replies, listeners.nonces, clones)
    topics = DeviceTopics(reads, rules, tenant, boots, listeners.replies.tails, plans, config.storage.max_devices)
    identifier = Identifier(tenant, bare_seq, listeners.replies, trailer, births.expiry_s, ports.random_bytes)
    slow_path = SlowPath(topics, identifier, listeners.side_topics, counters)
    reader = FastPath(topics, slow_path, listeners.nonces, births.expiry_s, counters)
    participants = (topics, plans, *listeners.side_topics, clones)
    journal = ports.ledger.journal(listeners.connection, tenant, participants, bare_seq, counters, log)
    store = BatchStore(journal, listeners.retry, counters, log, log_messages=config.logging.log_level == "debug")
    republisher = Republisher(routes, broker.publish, births, counters, log)
    return Pipeline(inbox, reader, store, republisher, broker, log, on_failure, on_stored)


def settings_in_force(config: Config, where: ShimIdentity) -> dict[str, str]:
    """What reports need to know of the settings; `commands/` reads it."""
    limits = ("keep", "max_messages", "max_spans")
    rates = ("sample", "sample_limit", "sample_flag_cap", "sample_device_rate")
    return {
        "broker": where.broker,
        "client_id": where.client_id,
        **{name: str(getattr(config.storage, name)) for name in limits},
        **{name: str(getattr(config.sampling, name)) for name in rates},
        "tail": rules_text(config.sampling.tail_rules),
        "otlp": traces_url(config.export.otlp) if config.export.otlp else "",
    }


def rules_text(rules: TailRules | None) -> str:
    """Write the tail's rules as a setting in force; "" when it is off."""
    return json.dumps({one.name: getattr(rules, one.name) for one in fields(rules)}) if rules else ""


def _key(config: Config) -> bytes:
    path = config.storage.key_file
    is_default = path == config.storage.state / KEY_NAME
    return secret_files.load_or_make_key(path) if is_default else secret_files.load_key(path)
