"""What a stage must know: key, tenant and topics to read a seqref by, which baggage may pass, and where to report what
it counted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack, get_type_hints

from motetrace_host.core.addresses import parse_broker
from motetrace_host.core.messages.derived_ids import MAX_KEY_BYTES, MAX_NAME_BYTES, MIN_KEY_BYTES
from motetrace_host.core.mqtt.connection import Broker
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.baggage import DEFAULT_MAX_BYTES, BaggageLimits
from motetrace_host.settings import parse_prefix
from motetrace_host.stages import reporting
from motetrace_host.stages.report_sink import CallableSink, ClientSink, Sink
from motetrace_host.stages.reporting import ReportSettings
from motetrace_host.storage import secret_files

DEFAULT_PREFIX = "motetrace/"
REPORT_EVERY_S = 5.0
MAX_EVERY_S = 3_600.0
DEFAULT_TOPICS = ("devices/{device_id}/telemetry",)
ALL_BAGGAGE = BaggageLimits()

_REPORT_CLIENT = (
    "paho-mqtt 2.1 or newer, which is not installed: pip install 'paho-mqtt>=2.1', or give the application's own MQTT "
    "client, report=client"
)

_log = logging.getLogger("motetrace")


@dataclass(frozen=True, slots=True)
class Settings:
    """One consistent set of settings; replaced as a whole, never changed."""

    key: bytes | None
    tenant: str
    topics: tuple[TopicTemplate, ...]
    baggage: BaggageLimits = ALL_BAGGAGE

    def device_of(self, topic: str) -> tuple[str | None, str | None]:
        """Return (device id, template) of the first template that matches the topic, else (None, None)."""
        for template in self.topics:
            device_id = template.match(topic)
            if device_id is not None:
                return device_id, template.template
        return None, None


_settings: Settings | None = None


class ReportOptions(TypedDict, total=False):
    """Where hops are reported; see `configure`."""

    report: Any
    reporter: str | None
    prefix: str | None
    report_every_s: float
    username: str | None
    password_file: str | os.PathLike[str] | None
    ca_file: str | os.PathLike[str] | None
    client_cert: str | os.PathLike[str] | None
    client_key: str | os.PathLike[str] | None


class ConfigureOptions(ReportOptions, total=False):
    """All that `configure` takes."""

    key: bytes | None
    key_file: str | os.PathLike[str] | None
    tenant: str | None
    topics: Iterable[str]
    baggage_allow: Iterable[str] | None
    baggage_max_bytes: int | None


def configure(**options: Unpack[ConfigureOptions]) -> None:
    """Set for this process by what seqrefs are derived, which baggage may pass, and where hops are reported.

    Key and tenant are not needed where every message carries a traceparent. Without `report` nothing is counted, and
    what was counted before and not yet reported is dropped (`flush_reports` first): a client that a rule publishes with
    is never used unasked, since a broker may end the session of who publishes where it must not.

    Args:
        key: 16..64 bytes, the same as the shim's. Not together with key_file.
        key_file: file that holds it; without both, the file named by MOTETRACE_KEY_FILE, if that is set.
        tenant: 0..255 bytes of UTF-8; default MOTETRACE_TENANT, else "".
        topics: templates with one `{device_id}`, tried in order.
        baggage_allow: names of the baggage members that are read and sent; `*` alone for all, an empty list for none.
            Default MOTETRACE_BAGGAGE_ALLOW, joined by commas (a lone comma for none), else `*`.
        baggage_max_bytes: 1..65,535, whole members beyond it are left out; default MOTETRACE_BAGGAGE_MAX_BYTES, else
            8192.
        report: who carries the reports to the broker: the application's own paho client (anything with paho's
            `publish` and, at wish, `is_connected`); a function `report(topic, payload)` that raises when it fails;
            or `mqtt://host:1883`, `mqtts://host:8883` for a small client of our own. Default MOTETRACE_REPORT, a URL.
        reporter: name of this service, one topic level of 1..255 bytes; default MOTETRACE_REPORTER, else
            OTEL_SERVICE_NAME, else "stages". Several processes may share it.
        prefix: of the side topics, as the shim's; default MOTETRACE_PREFIX, else `motetrace/`.
        report_every_s: 0.1..3600 seconds between reports.
        username, password_file, ca_file, client_cert, client_key: with a URL only; default MOTETRACE_USERNAME,
            MOTETRACE_PASSWORD_FILE, MOTETRACE_CA_FILE, MOTETRACE_CLIENT_CERT and MOTETRACE_CLIENT_KEY.
    Raises:
        TypeError: report is none of these, or there is no such option.
        ValueError, OSError: a value is out of range, or a file is unusable; names value, range and remedy.
    Source: docs/hop-reports.md.
    """
    global _settings
    known = get_type_hints(ConfigureOptions)
    if unknown := sorted(options.keys() - known.keys()):
        raise TypeError(f"configure() has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    policy = _policy(options.get("baggage_allow"), options.get("baggage_max_bytes"))
    topics = options.get("topics", DEFAULT_TOPICS)
    loaded = _load(options.get("key"), options.get("key_file"), options.get("tenant"), topics, policy)
    login = _Login.of(
        options.get("username"), options.get("password_file"), options.get("ca_file"), options.get("client_cert"),
        options.get("client_key"),
    )  # fmt: skip
    every_s = options.get("report_every_s", REPORT_EVERY_S)
    reports = _reports(options.get("report"), options.get("reporter"), options.get("prefix"), every_s, login)
    _settings = loaded
    reporting.begin(reports)


def current() -> Settings:
    """Return the settings in force; the environment's when `configure` was never called.

    A broken environment degrades to "no key", "no baggage" and "no reports" with a log line each, because this runs
    inside message callbacks; call `configure()` at start to be told with an exception.
    """
    global _settings
    if _settings is None:
        try:
            policy = _policy(None, None)
        except ValueError as error:
            _log.warning("motetrace: no baggage will pass: %s", error)
            policy = BaggageLimits(frozenset())
        try:
            _settings = _load(None, None, None, DEFAULT_TOPICS, policy)
        except (ValueError, OSError) as error:
            _log.warning("motetrace: seqrefs will not be derived: %s", error)
            _settings = Settings(None, "", tuple(TopicTemplate(topic) for topic in DEFAULT_TOPICS), policy)
        try:
            reporting.begin(_reports(None, None, None, REPORT_EVERY_S, _Login.of()))
        except (ValueError, OSError) as error:
            _log.warning("motetrace: hops will not be reported: %s", error)
    return _settings


def _policy(allow: Iterable[str] | None, max_bytes: int | None) -> BaggageLimits:
    if allow is None:
        listed = os.environ.get("MOTETRACE_BAGGAGE_ALLOW", "").strip() or "*"
        allow = [name.strip() for name in listed.split(",") if name.strip()]
    names = frozenset(allow)
    if max_bytes is None:
        text = os.environ.get("MOTETRACE_BAGGAGE_MAX_BYTES", "").strip() or str(DEFAULT_MAX_BYTES)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"MOTETRACE_BAGGAGE_MAX_BYTES is {text[:40]!r}; it must be digits, 1..65535")
        max_bytes = int(text)
    return BaggageLimits(None if names == {"*"} else names, max_bytes)


def _load(
    key: bytes | None,
    key_file: str | os.PathLike[str] | None,
    tenant: str | None,
    topics: Iterable[str],
    policy: BaggageLimits,
) -> Settings:
    if key is not None and key_file is not None:
        raise ValueError("key and key_file are both given; give one of them")
    if key is None:
        named = os.environ.get("MOTETRACE_KEY_FILE", "") if key_file is None else os.fspath(key_file)
        key = _read(Path(named)) if named else None
    if key is not None and not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"key is {len(key)} bytes; it must be {MIN_KEY_BYTES}..{MAX_KEY_BYTES}, as the shim's")
    tenant = os.environ.get("MOTETRACE_TENANT", "") if tenant is None else tenant
    if len(tenant.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"tenant is {len(tenant.encode())} bytes; it must be 0..{MAX_NAME_BYTES} bytes of UTF-8")
    return Settings(key, tenant, tuple(TopicTemplate(topic) for topic in topics), policy)


def _read(path: Path) -> bytes:
    """Read a key that must be there: one made here would not be the shim's, and every trace would break in two."""
    if not path.is_file():
        raise ValueError(f"key file {path} does not exist; name the one in the shim's state folder")
    return secret_files.load_key(path)


@dataclass(frozen=True, slots=True)
class _Login:
    """How a client of our own is let in."""

    username: str
    password_file: str
    ca_file: str
    client_cert: str
    client_key: str

    @classmethod
    def of(
        cls,
        username: str | None = None,
        password_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
    ) -> _Login:
        """What was given, else the environment's."""
        return cls(
            _given(username, "MOTETRACE_USERNAME"),
            _given(password_file, "MOTETRACE_PASSWORD_FILE"),
            _given(ca_file, "MOTETRACE_CA_FILE"),
            _given(client_cert, "MOTETRACE_CLIENT_CERT"),
            _given(client_key, "MOTETRACE_CLIENT_KEY"),
        )


def _given(value: str | os.PathLike[str] | None, variable: str) -> str:
    return os.environ.get(variable, "") if value is None else os.fspath(value)


def _reports(
    report: Any, reporter: str | None, prefix: str | None, every_s: float, login: _Login
) -> ReportSettings | None:
    """Return how to report; None when nobody said where to."""
    target = os.environ.get("MOTETRACE_REPORT", "") if report is None else report
    if target == "":
        return None
    named = _given(reporter, "MOTETRACE_REPORTER") or os.environ.get("OTEL_SERVICE_NAME", "") or "stages"
    try:
        level = parse_prefix(_given(prefix, "MOTETRACE_PREFIX") or DEFAULT_PREFIX)
    except ValueError as error:
        raise ValueError(f"prefix {prefix!r}: {error}") from error
    topic = hop_report.topic(level, named)
    if isinstance(every_s, bool) or not 0.1 <= every_s <= MAX_EVERY_S:
        raise ValueError(f"report_every_s is {every_s!r}; it must be 0.1..{MAX_EVERY_S:.0f} seconds")
    return ReportSettings(_sink(target, login), topic, float(every_s))


def _sink(report: Any, login: _Login) -> Sink:
    if isinstance(report, str):
        broker = _broker(report, login)
        try:
            from motetrace_host.stages.report_client import BrokerSink
        except ImportError as error:
            raise ValueError(f"report {report!r} needs {_REPORT_CLIENT}") from error
        return BrokerSink(broker)
    if callable(getattr(report, "publish", None)):
        return ClientSink(report)
    if callable(report):
        return CallableSink(report)
    raise TypeError(
        f"report is {report!r}; it must be an MQTT client with publish(), a function of (topic, payload), or a URL "
        "such as mqtt://127.0.0.1:1883"
    )


def _broker(url: str, login: _Login) -> Broker:
    try:
        address = parse_broker(url)
    except ValueError as error:
        raise ValueError(f"report: {error}") from error
    for name in ("ca_file", "client_cert", "client_key"):
        if getattr(login, name) and not address.tls:
            raise ValueError(f"{name} {getattr(login, name)} needs TLS: write mqtts:// in report")
    if login.password_file and not login.username:
        raise ValueError(f"password_file {login.password_file} needs username")
    password = secret_files.load_password(Path(login.password_file) if login.password_file else None, "password_file")
    return Broker(
        address.host, address.port, address.tls, login.ca_file, login.username, password,
        login.client_cert, login.client_key,
    )  # fmt: skip
