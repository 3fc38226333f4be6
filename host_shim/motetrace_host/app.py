"""`motetrace run`: puts the parts together, keeps them going, stops them in the right order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import IO, Any

from motetrace_host import assembly
from motetrace_host.config import Config, ConfigError
from motetrace_host.core.hops import Where
from motetrace_host.core.link import Broker, Session, Subscription
from motetrace_host.core.store_error import StoreError
from motetrace_host.edges import database, headers_file, key_file, log, state_folder
from motetrace_host.edges.forward_cursor import ForwardCursor
from motetrace_host.edges.ledger import Ledger
from motetrace_host.edges.mqtt import Subscriber
from motetrace_host.edges.otlp_forwarder import EndpointError, OtlpForwarder, traces_url
from motetrace_host.edges.otlp_receiver import BindError, OtlpReceiver
from motetrace_host.edges.running import Running
from motetrace_host.shim.inbox import Inbox
from motetrace_host.shim.places import Tenant
from motetrace_host.shim.tally import Tally
from motetrace_host.span_intake import SpanIntake
from motetrace_host.span_outbox import SpanOutbox, unsent_elsewhere
from motetrace_host.upkeep.retention import Limits, Retention

DATABASE_NAME = "motetrace.db"
SUMMARY_S = 60.0
TRIM_S = 10.0
_DAY_MS = 86_400_000
_WORTH_TELLING = 100_000  # rows
_DRAIN_S = 10.0
_FLUSH_S = 5.0
_FORCED_EXIT = 130


def run(config: Config) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code.

    A second signal ends the process at once: what was not acknowledged comes again at the next start.

    Raises:
        ConfigError: something that the settings name cannot be used.
    """
    stop = threading.Event()

    def on_signal(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(_FORCED_EXIT)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        shim = Shim(config, stop)
    except (
        StoreError, key_file.KeyFileError, headers_file.HeadersFileError, state_folder.StateFolderError, EndpointError,
        BindError, OSError,
    ) as error:  # fmt: skip
        raise ConfigError([str(error)]) from error
    return shim.run()


class Shim:
    """One running shim.

    Args:
        stop: set from outside to end it, and by itself when it cannot go on.
    Raises:
        StoreError, KeyFileError, HeadersFileError, StateFolderError, EndpointError, BindError, OSError: a part cannot
            be had.
    """

    def __init__(self, config: Config, stop: threading.Event) -> None:
        self._config = config
        self._stop = stop
        self._failure = ""
        self._log = log.configure(config.log_level, config.log_format)
        self._lock: IO[str] = state_folder.take(config.state)
        self._tenant = Tenant(config.tenant, _key(config))
        self._client_id = config.client_id or state_folder.client_id(config.state)
        self._path = config.state / DATABASE_NAME
        self._connection = database.connect(self._path)
        self._ledger = Ledger(self._connection)
        self._retention = Retention(
            self._connection,
            Limits(config.keep * _DAY_MS, config.max_messages, config.max_spans),
            stop.wait,
            lambda gone: self._log.info("forgetting", **gone),
        )
        self._where = Where(f"{config.broker.host}:{config.broker.port}", self._client_id)
        with database.transaction(self._connection):
            Running(self._connection).note(_noted(config, self._where))
            known_devices = {device for device, _, _ in self._ledger.rejections()}
        self._tally = Tally(known_devices)
        self._inbox = Inbox(config.queue)
        self._outbox: SpanOutbox | None = None
        self._forwarder = self._new_forwarder()
        self._receiver = self._new_receiver()
        connection = database.connect(self._path)
        births_changed = self._outbox.births_changed if self._outbox else lambda: None
        self._listeners = assembly.listeners(config, connection, self._tally, births_changed)
        self._subscriber = self._new_subscriber()
        self._pipeline = assembly.pipeline(
            config, connection, self._tenant, self._inbox, self._listeners, self._subscriber, self._tally, self._log,
            on_failure=self._fail, on_stored=self._forwarder.notify if self._forwarder else lambda: None,
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
        self._log.info("stopped", drained=drained, **self._summary())
        return 0

    def _new_forwarder(self) -> OtlpForwarder | None:
        if not self._config.otlp:
            return None
        url = traces_url(self._config.otlp)
        file = self._config.otlp_headers_file
        headers = headers_file.load(file) if file else {}
        self._outbox = SpanOutbox(database.connect(self._path), url, self._where)
        return OtlpForwarder(self._outbox, url, headers=headers)

    def _new_receiver(self) -> OtlpReceiver | None:
        listen = self._config.otlp_listen
        if listen is None:
            return None
        on_stored = self._forwarder.notify if self._forwarder else None
        return OtlpReceiver(SpanIntake(database.connect(self._path), on_stored), listen.host, listen.port)

    def _new_subscriber(self) -> Subscriber:
        config = self._config
        broker = Broker(
            config.broker.host,
            config.broker.port,
            config.broker.tls,
            str(config.ca_file or ""),
            config.username,
            _first_line(config.password_file),
        )
        session = Session(self._client_id, config.session_expiry, config.receive_maximum)
        # Side topics first: what they say belongs on the spans of the readings that follow.
        subscriptions = [
            Subscription(side.template.filter, retained=side.retained) for side in self._listeners.side_topics
        ]
        subscriptions += [Subscription(topic.filter) for topic in config.topics]
        try:
            return Subscriber(broker, session, subscriptions, self._inbox.put, self._inbox.put_published, self._on_link)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                [f"--ca-file {config.ca_file}: {error}; name a readable file of PEM certificates"]
            ) from error

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
            broker=f"{self._config.broker.host}:{self._config.broker.port}",
            topics=[topic.template for topic in self._config.topics],
            client_id=self._client_id,
            state=str(self._config.state),
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
        while not self._stop.wait(TRIM_S):
            try:
                self._trim()
            except StoreError as error:
                self._log.warning("trim_failed", error=str(error))
            if time.monotonic() >= next_summary:
                next_summary += SUMMARY_S
                self._log.info("summary", **self._summary())

    def _trim(self) -> None:
        self._listeners.head.expire(time.time_ns())
        gone = self._retention.run(time.time_ns() // 1_000_000)
        if sum(gone.values()) >= _WORTH_TELLING:
            self._log.info("forgotten", **gone)

    def _shut_down(self) -> bool:
        """In this order: take no more, work off, commit, acknowledge, disconnect, send spans on."""
        drained = self._pipeline.stop(_DRAIN_S)
        self._subscriber.stop()
        if self._receiver:
            self._receiver.stop()
        if self._forwarder:
            self._forwarder.stop(_FLUSH_S)
        return drained

    def _summary(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            **self._tally.summary(),
            "shed": self._inbox.shed,
            "held_back": self._inbox.held_back,
            "waiting": len(self._inbox),
        }
        if self._forwarder:
            with contextlib.suppress(StoreError), database.translated():
                numbers["forwarded"] = ForwardCursor(self._connection, self._forwarder.url).state()._asdict()
        return numbers

    def _on_link(self, event: str, fields: dict[str, Any]) -> None:
        broker = f"{self._config.broker.host}:{self._config.broker.port}"
        if event == "refused":
            self._fail(f"broker {broker}: {fields['reason']}")
        elif event in ("connected", "subscribed"):
            self._log.info(event, broker=broker, **fields)
        elif event == "subscription_refused":
            self._log.error("subscription_refused", broker=broker, **fields, remedy="check the broker's access list")
        else:
            self._log.warning(event, broker=broker, **fields, **_remedy(fields.get("reason", "")))

    def _fail(self, why: str) -> None:
        self._failure = why
        self._stop.set()


def _noted(config: Config, where: Where) -> dict[str, str]:
    """What reports are to know of the settings; `reports/` reads it."""
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
        "otlp": traces_url(config.otlp) if config.otlp else "",
    }


def _key(config: Config) -> bytes:
    is_default = config.key_file == config.default_key_file
    return key_file.load_or_make(config.key_file) if is_default else key_file.load(config.key_file)


def _remedy(reason: str) -> dict[str, str]:
    """What to do about a lost connection, where something can be said; the names are those of Python's exceptions."""
    if reason.startswith("ConnectionRefusedError"):
        return {"remedy": "is the broker up there? check --broker"}
    if reason.startswith("gaierror"):
        return {"remedy": "check the host name in --broker"}
    return {}


def _first_line(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        mistake = f"--password-file {path}: {error}; name a text file whose first line is the password"
        raise ConfigError([mistake]) from error
