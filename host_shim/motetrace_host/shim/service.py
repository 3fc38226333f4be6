"""`motetrace run`: puts the parts together, keeps them going, stops them in the right order."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

from motetrace_host.cluster import shared_ledger
from motetrace_host.cluster.departure import Departure
from motetrace_host.commands import shim_view
from motetrace_host.core.messages.message_spans import Where
from motetrace_host.core.mqtt import broker_queue
from motetrace_host.core.mqtt.connection import Broker, Session, Subscription
from motetrace_host.core.printable import printable
from motetrace_host.core.spans.span import SpanRow
from motetrace_host.core.store_error import StoreError
from motetrace_host.network import bulk_reader, paho_reader, tls
from motetrace_host.network.otlp_forwarder import EndpointError, OtlpForwarder, traces_url
from motetrace_host.network.otlp_receiver import BindError, OtlpReceiver
from motetrace_host.network.subscriber import Subscriber
from motetrace_host.shim import build, logging
from motetrace_host.shim.broker_watch import BrokerWatch
from motetrace_host.shim.config import Config, ConfigError
from motetrace_host.shim.connection_log import ConnectionLog
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import DatabaseRetry
from motetrace_host.shim.device_topics import Tenant
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.nonces import NOTICES
from motetrace_host.shim.retention import Limits, Retention
from motetrace_host.shim.span_intake import SpanIntake
from motetrace_host.shim.span_outbox import SpanOutbox, unsent_elsewhere
from motetrace_host.shim.tail_sampler import TailSampler
from motetrace_host.storage import database, headers_file, password_file, secret_files, state_folder
from motetrace_host.storage.boot_table import Ledger
from motetrace_host.storage.forward_cursor import ForwardCursor
from motetrace_host.storage.run_settings import Running
from motetrace_host.storage.sqlite_ledger import SqliteSeen

DATABASE_NAME = "motetrace.db"
SUMMARY_S = 60.0
TRIM_S = 10.0
_DAY_MS = 86_400_000
_WORTH_TELLING = 100_000  # rows
_DRAIN_S = 10.0
_FLUSH_S = 5.0
_FORCED_EXIT = 130
# Messages make next to no cycles, and the devices that are remembered make a large heap: by Python's own thresholds
# (700, 10, 10) the collector goes through it so often that a message costs a fifth more.
_GC_THRESHOLDS = (50_000, 20, 20)
# Reading, storing and sending on take turns on one processor; each turn begins with what the others left in its caches.
# With Python's own 5 ms a message that is sent on costs 7 % more.
_SWITCH_S = 0.02
_TAIL_REMEDY = (
    "spans that stages send to another shim than their message reached are not heard here: sample the tail in a "
    "Collector (motetrace collector-config --gateway-hosts)"
)
_RECEIVE = {"bulk": bulk_reader.receive, "paho": paho_reader.receive}


def run(config: Config, *, leaving: bool = False) -> int:
    """Run until SIGTERM or SIGINT, or until it has left its group; gives the exit code.

    A second signal ends the process at once: what was not acknowledged comes again at the next start.

    Raises:
        ConfigError: something that the settings name cannot be used.
        StoreError: the disk cannot be used now, and perhaps later.
    """
    if leaving and not config.share:
        raise ConfigError(["--share is missing: only a shim of a group can leave it; one that is alone is stopped"])
    # Whatever the umask was: a folder above the state folder that others may write to is one they may swap.
    os.umask(os.umask(0o077) | 0o077)
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_S)
    stop = threading.Event()

    def on_signal(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(_FORCED_EXIT)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        shim = Shim(config, stop, leaving=leaving)
    except StoreError as error:
        if error.retry:
            raise
        raise ConfigError([str(error)]) from error
    except (
        secret_files.KeyFileError, headers_file.HeadersFileError, state_folder.StateFolderError,
        tls.TlsFilesError, password_file.PasswordFileError, EndpointError, BindError, OSError,
    ) as error:  # fmt: skip
        raise ConfigError([str(error)]) from error
    return shim.run()


class Shim:
    """One running shim.

    Args:
        stop: set from outside to end it, and by itself when it cannot go on.
        leaving: take nothing new, work off what the broker has kept, and end the session; see `departure`.
    Raises:
        StoreError, KeyFileError, HeadersFileError, StateFolderError, TlsFilesError, PasswordFileError, EndpointError,
            BindError, OSError: a part cannot be had.
    """

    def __init__(self, config: Config, stop: threading.Event, *, leaving: bool = False) -> None:
        self._config = config
        self._stop = stop
        self._failure = ""
        self._left = False
        self._log = logging.configure(config.log_level, config.log_format)
        self._lock: IO[str] = state_folder.take(config.state)
        self._tenant = Tenant(config.tenant, _key(config))
        self._client_id = config.client_id or state_folder.client_id(config.state)
        self._path = config.state / DATABASE_NAME
        self._connection = database.connect(self._path)
        self._ledger = Ledger(self._connection)
        self._retention = Retention(
            self._connection,
            Limits(config.keep * _DAY_MS, config.max_messages, config.max_spans, ledger_is_here=not config.ledger),
            stop.wait,
            lambda gone: self._log.info("forgetting", **gone),
        )
        self._where = Where(f"{config.broker.host}:{config.broker.port}", self._client_id)
        self._connection_log = ConnectionLog(self._log, self._where.broker, config.broker.tls)
        shared = _shared(config)
        mark = shared_ledger.fingerprint(self._tenant.key, self._tenant.name)
        self._shared = shared_ledger.of_shim(shared, self._connection, mark, self._log)
        with database.transaction(self._connection):
            Running(self._connection).note(_noted(config, self._where) | (shared.noted() if shared else {}))
            known_devices = {device for device, _, _ in self._ledger.rejections()}
        self._counters = Counters(known_devices)
        self._inbox = Inbox(config.queue)
        self._broker_watch = BrokerWatch(self._log)
        self._departure = Departure(self._inbox, self._counters, self._unsent) if leaving else None
        self._outbox: SpanOutbox | None = None
        self._head = build.head(config)
        self._tail = self._new_tail()
        self._forwarder = self._new_forwarder()
        self._receiver = self._new_receiver()
        connection = database.connect(self._path)
        births_changed = self._outbox.births_changed if self._outbox else lambda: None
        retry = DatabaseRetry(self._log, lambda: len(self._inbox))
        self._listeners = build.listeners(
            config, connection, retry, self._head, self._counters, on_birth=births_changed, on_nonce=self._on_nonce
        )
        self._subscriber = self._new_subscriber()
        self._pipeline = build.pipeline(
            config, connection, retry, self._tenant, self._inbox, self._listeners, self._subscriber, self._counters,
            self._log, self._shared, on_failure=self._fail, on_stored=self._on_stored,
        )  # fmt: skip

    def run(self) -> int:
        """Start all, take care of them until told to stop, stop them; 0, or 1 when it could not go on."""
        self._start()
        try:
            self._take_care()
        finally:
            drained = self._shut_down()
        if self._failure:
            self._log.error("stopped", reason=self._failure, **self._summary())
            return 1
        if self._departure:
            self._log.info("left" if self._left else "not_left", **self._summary())
            return 0 if self._left else 1
        self._log.info("stopped", drained=drained, **self._summary())
        return 0

    def _new_forwarder(self) -> OtlpForwarder | None:
        if not self._config.otlp:
            return None
        url = traces_url(self._config.otlp)
        file = self._config.otlp_headers_file
        headers = headers_file.load(file) if file else {}
        self._outbox = SpanOutbox(database.connect(self._path), url, self._where, self._tail)
        return OtlpForwarder(self._outbox, url, headers=headers, compression=self._config.otlp_compression)

    def _new_tail(self) -> TailSampler | None:
        rules = self._config.tail_rules
        if rules is None:
            return None
        if self._config.share:
            self._log.warning("tail_hears_a_part", share=self._config.share, remedy=_TAIL_REMEDY)
        connection = database.connect(self._path)
        shared = _shared(self._config)
        seen = shared_ledger.connected(shared, "tail") if shared else SqliteSeen(connection)  # only read from
        return TailSampler(connection, seen, rules, self._config.sample, self._head.targets)

    def _new_receiver(self) -> OtlpReceiver | None:
        listen = self._config.otlp_listen
        if listen is None:
            return None
        return OtlpReceiver(SpanIntake(database.connect(self._path), self._on_spans), listen.host, listen.port)

    def _on_spans(self, rows: Sequence[SpanRow]) -> None:
        if self._tail:
            self._tail.observe(rows)
        if self._forwarder:
            self._forwarder.notify()

    def _new_subscriber(self) -> Subscriber:
        config = self._config
        broker = Broker(
            config.broker.host,
            config.broker.port,
            config.broker.tls,
            str(config.ca_file or ""),
            config.username,
            password_file.first_line(config.password_file, "--password-file"),
            str(config.client_cert or ""),
            str(config.client_key or ""),
        )
        session = Session(self._client_id, config.session_expiry, config.receive_maximum)
        # Side topics first: what they say belongs on the spans of the readings that follow.
        subscriptions = [
            # What the broker keeps is for each shim to know; what passes by is for one of a group to count.
            Subscription(side.template.filter, retained=True)
            if side.retained
            else Subscription(config.on_share(side.template.filter))
            for side in self._listeners.side_topics
        ]
        subscriptions += [Subscription(config.on_share(topic.filter)) for topic in config.topics]
        return Subscriber(
            broker,
            session,
            _RECEIVE[config.receive],
            subscriptions,
            self._departure.put if self._departure else self._inbox.put,
            self._inbox.put_published,
            self._on_link,
            broker_queue.TOPICS,
            self._broker_watch.receive,
            tls.of(broker),
            leaving=self._departure is not None,
        )

    def _on_nonce(self, event: str, device_id: str, boot_nonce: bytes, other: str) -> None:
        fields = {"device.id": printable(device_id), "boot": boot_nonce.hex()}
        if other:
            fields["other_device"] = printable(other)
        self._log.warning(event, **fields, remedy=NOTICES[event])

    def _start(self) -> None:
        if self._forwarder:
            self._forwarder.start()
        if self._receiver:
            self._receiver.start()
            print(f"OTLP receiver: {self._receiver.url}", flush=True)
        self._pipeline.start()
        self._subscriber.start()
        self._log.info(
            "started",
            broker=self._where.broker,
            topics=[topic.template for topic in self._config.topics],
            client_id=self._client_id,
            state=str(self._config.state),
            ledger=self._config.ledger or "sqlite",
            otlp_receiver=self._receiver.url if self._receiver else "off",
            otlp_forward=self._forwarder.url if self._forwarder else "off",
        )
        self._tell_former_targets()

    def _tell_former_targets(self) -> None:
        unsent: dict[str, int] = {}
        with contextlib.suppress(StoreError):
            unsent = unsent_elsewhere(self._connection, self._forwarder.url if self._forwarder else "")
        for target, spans in unsent.items():
            self._log.info(
                "otlp_former_target",
                target=target,
                unsent=spans,
                remedy="to send them there, name it with --otlp again; else nothing: --max-spans sheds the oldest",
            )

    def _take_care(self) -> None:
        """Bound what is on disk, and say now and then how it goes."""
        next_summary = time.monotonic() + SUMMARY_S
        while not self._stop.wait(TRIM_S if self._departure is None else 1.0):
            if self._departure and self._departure.over:
                return
            try:
                self._trim()
            except StoreError as error:
                self._log.warning("trim_failed", error=str(error))
            if time.monotonic() >= next_summary:
                next_summary += SUMMARY_S
                self._log.info("summary", **self._summary())

    def _trim(self) -> None:
        self._head.expire(time.time_ns())
        gone = self._retention.run(time.time_ns() // 1_000_000)
        if sum(gone.values()) >= _WORTH_TELLING:
            self._log.info("forgotten", **gone)

    def _shut_down(self) -> bool:
        """In this order: take no more, work off, commit, acknowledge, disconnect, send spans on."""
        drained = self._pipeline.stop(_DRAIN_S)
        self._left = self._departure is not None and drained and self._departure.over
        self._subscriber.stop(end_session=self._left)
        if self._receiver:
            self._receiver.stop()
        if self._forwarder:
            self._forwarder.stop(_FLUSH_S)
        return drained

    def _summary(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            **self._counters.summary(),
            "shed": self._inbox.shed,
            "held_back": self._inbox.held_back,
            "waiting": len(self._inbox),
            "qos_2": self._subscriber.qos_2,
            "broker_dropped": self._broker_watch.dropped,
        }
        if self._forwarder:
            with contextlib.suppress(StoreError), database.translated():
                numbers["forwarded"] = ForwardCursor(self._connection, self._forwarder.url).state()._asdict()
        return numbers

    def _on_stored(self) -> None:
        if self._forwarder:
            self._forwarder.notify()
        if self._departure:
            self._departure.stored()

    def _unsent(self) -> int:
        if not self._forwarder:
            return 0
        with database.translated():
            at = ForwardCursor(self._connection, self._forwarder.url).state()
        return at.pending_messages + at.pending_spans

    def _on_link(self, event: str, fields: dict[str, Any]) -> None:
        if self._departure:
            self._departure.connection_event(event)
        if event == "refused":
            self._fail(f"broker {self._where.broker}: {fields['reason']}")
        else:
            self._connection_log.record(event, fields)

    def _fail(self, why: str) -> None:
        self._failure = why
        self._stop.set()


def _shared(config: Config) -> shared_ledger.LedgerAddress | None:
    if not config.ledger:
        return None
    return shared_ledger.LedgerAddress(
        config.ledger, config.tenant, config.ledger_username, config.ledger_password_file
    )


def _noted(config: Config, where: Where) -> dict[str, str]:
    """What reports are to know of the settings; `commands/` reads it."""
    return {
        "broker": where.broker,
        "client_id": where.client_id,
        "keep": str(config.keep),
        "max_messages": str(config.max_messages),
        "max_spans": str(config.max_spans),
        "sample": str(config.sample),
        "sample_limit": str(config.sample_limit),
        "sample_flag_cap": str(config.sample_flag_cap),
        "sample_device_rate": str(config.sample_device_rate),
        "tail": shim_view.rules_text(config.tail_rules),
        "otlp": traces_url(config.otlp) if config.otlp else "",
    }


def _key(config: Config) -> bytes:
    is_default = config.key_file == config.default_key_file
    return secret_files.load_or_make(config.key_file) if is_default else secret_files.load(config.key_file)
