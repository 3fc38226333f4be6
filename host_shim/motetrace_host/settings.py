"""The settings of `motetrace run`: each is one field of a group, which says its type, what is allowed, and its help.

Flags, environment and file are read by these fields (`SETTINGS` lists them), and the groups hold the values that were
found. A parser takes what was written (text from a flag or the environment, any TOML value from the file) and gives the
value, or raises ValueError with what is allowed and what to do.
"""

# ruff: noqa: RUF009 (`_setting` makes a dataclass's field)
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from motetrace_host.core.addresses import Address, BrokerUrl, parse_address, parse_broker, parse_endpoint, parse_ledger
from motetrace_host.core.mqtt.topics import TopicFilter, TopicTemplate
from motetrace_host.core.sampling import threshold
from motetrace_host.core.sampling.head import UNKNOWN, HeadSettings
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.wire.trust import TrustPolicy

Parser = Callable[[object], Any]
_SIDE_TOPICS = ("birth", "stats", "seen", "dropped", "sampling/desired", "sampling/reported")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row.

    Attributes:
        name: in TOML as it is, as a flag with dashes, in the environment upper case behind `MOTETRACE_`.
        default: as one would write it; None: has none, or one that is made at run time.
        count: 1; 2 for a pair. many: may be given several times.
        absent: the value where nothing was written and there is no default.
    """

    name: str
    parse: Parser
    default: object
    metavar: str
    help: str
    count: int = 1
    many: bool = False
    absent: object = None

    @property
    def flag(self) -> str:
        """As written on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "MOTETRACE_" + self.name.upper()


def whole_number(low: int, high: int, unit: str) -> Parser:
    """Numbers of low..high."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,20}", str(value)):
            raise ValueError(f"a whole number of {low}..{high} {unit} is needed")
        number = int(str(value))
        if not low <= number <= high:
            raise ValueError(f"allowed are {low}..{high} {unit}")
        return number

    return parse


def one_of(*words: str) -> Parser:
    """One of some words."""

    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"allowed are {', '.join(words)}")
        return str(value)

    return parse


def text(max_bytes: int, what: str) -> Parser:
    """Text of at most `max_bytes` in UTF-8, without control characters."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > max_bytes or not value.isprintable():
            raise ValueError(f"{what} is printable text of at most {max_bytes} bytes")
        return value

    return parse


def parse_path(value: object) -> Path:
    """A path; `~` is the home folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path is needed")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"whose home folder is meant is not known: {error}") from error


def parse_name(value: object) -> str:
    """A client id that every broker takes, or the name of a shared subscription."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_.:-]{1,64}", value):
        raise ValueError("1..64 characters of 0-9 A-Z a-z _ . : -")
    return value


def parse_topic(value: object) -> TopicTemplate:
    """A topic template with one level `{device_id}`."""
    return TopicTemplate(str(value))


def parse_rate(value: object) -> int:
    """A share of traces, as a threshold 0..2**56."""
    return threshold.of_rate(threshold.parse_rate(str(value)))


def parse_device_rate(value: object) -> int:
    """The same, or "unknown"."""
    return UNKNOWN if value == "unknown" else parse_rate(value)


def parse_republish(value: object) -> tuple[TopicTemplate, TopicTemplate]:
    """A pair of topic templates, the second without wildcards."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("two topic templates are needed, FROM and TO")
    source, target = parse_topic(value[0]), parse_topic(value[1])
    target.fill("device")  # raises where the template names no single topic
    return source, target


def parse_trust(value: object) -> tuple[TopicFilter, TrustPolicy]:
    """A topic filter and a word of `TrustPolicy`."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("a topic filter and a policy are needed, FILTER POLICY")
    words = {policy.word: policy for policy in TrustPolicy}
    if value[1] not in words:
        raise ValueError(f"policies are {', '.join(words)}")
    return TopicFilter(str(value[0])), words[str(value[1])]


def parse_user_property(value: object) -> str:
    """The name of a user property."""
    name = text(255, "the name of a user property")(value)
    if not name or name in _OUR_PROPERTIES:
        raise ValueError(f"a name of 1..255 bytes is needed that is none of {', '.join(sorted(_OUR_PROPERTIES))}")
    return str(name)


_OUR_PROPERTIES = frozenset(("traceparent", "seqref", "tracestate", "baggage"))


def parse_prefix(value: object) -> str:
    """The start of the side topics: ends in '/', holds no wildcard."""
    if not isinstance(value, str) or not re.fullmatch(r"[^/$+#{}\0][^+#{}\0]*/", value):
        raise ValueError("it ends in '/', begins with neither '/' nor '$', has none of + # { }; for example motetrace/")
    TopicTemplate(value + "{device_id}/birth")
    return value


def _setting(parse: Parser, default: object, metavar: str, shown: str, **more: Any) -> Any:
    """A field of a group that is a setting; `shown` is its help, `more` as `Setting` has it."""
    return field(metadata={"row": (parse, default, metavar, shown), "more": more})


# fmt: off
@dataclass(frozen=True, slots=True)
class Connection:
    """The connection to the broker."""

    broker: BrokerUrl = _setting(parse_broker, "mqtt://127.0.0.1:1883", "URL",
        "The MQTT 5 broker: mqtt://HOST:PORT, or mqtts:// for TLS.")
    username: str = _setting(text(65_535, "a user name"), "", "NAME", "User name at the broker.")
    password_file: Path | None = _setting(parse_path, None, "FILE",
        "File whose first line is the password at the broker.")
    ca_file: Path | None = _setting(parse_path, None, "FILE",
        "Certificates that the broker's is checked against (PEM), with mqtts://. Default: the system's.")
    client_cert: Path | None = _setting(parse_path, None, "FILE",
        "Certificate that we show to the broker (PEM, with the chain behind it), with mqtts://.")
    client_key: Path | None = _setting(parse_path, None, "FILE",
        "Private key of --client-cert (PEM, without passphrase), mode 0600.")
    client_id: str = _setting(parse_name, None, "ID",
        "MQTT client id; the broker keeps the session under it. Default: drawn once and kept in STATE/client-id.",
        absent="")
    session_expiry: int = _setting(whole_number(1, 2**32 - 1, "seconds"), 86_400, "SECONDS",
        "How long the broker keeps messages for this shim while it is away.")
    receive_maximum: int = _setting(whole_number(1, 65_535, "messages"), None, "MESSAGES",
        "How many messages the broker may send ahead of our acknowledgement; at most --queue. "
        "Default: 10000, or --queue when that is less.")
    receive: str = _setting(one_of("bulk", "paho"), "bulk", "READER",
        "How packets are read: bulk (many at once), or paho (paho-mqtt's own reader: slow, and it drops the "
        "connection on some lawful messages; to find out whether the bulk reader is at fault).")
    queue: int = _setting(whole_number(100, 1_000_000, "messages"), 50_000, "MESSAGES",
        "How many received messages may wait in memory (and 64 MiB). Beyond it QoS 0 is shed and counted, "
        "QoS 1 waits in the broker.")


@dataclass(frozen=True, slots=True)
class Readings:
    """Which messages are followed, and how they are read."""

    topic: tuple[TopicTemplate, ...] = _setting(parse_topic, None, "TEMPLATE",
        "Readings to follow. One level is {device_id}; + and # are allowed. Repeat it for more topics.", many=True)
    republish: tuple[tuple[TopicTemplate, TopicTemplate], ...] = _setting(parse_republish, None, "FROM TO",
        "Publish readings of template FROM once more to TO, with a full traceparent user property and without our "
        "members in the payload, for consumers that cannot derive ids. Repeatable.", count=2, many=True)
    trailer: tuple[TopicTemplate, ...] = _setting(parse_topic, None, "TEMPLATE",
        "Readings to follow whose binary payloads end in a trailer with the context. Repeatable.", many=True)
    trust: tuple[tuple[TopicFilter, TrustPolicy], ...] = _setting(parse_trust, None, "FILTER POLICY",
        "What is done with contexts that come on the topics of FILTER: continue; resample: continue, but whether "
        "there are spans is ours to say; link: begin a trace of our own that links to the sender's; off: ignore. "
        "Repeatable, the first that matches counts. [default: continue]", count=2, many=True)
    device_property: str = _setting(parse_user_property, None, "NAME",
        "Take the device id from this user property, which the broker sets, and not from the topic.", absent="")
    prefix: str = _setting(parse_prefix, "motetrace/", "TOPIC/",
        "Where devices publish their birth messages: PREFIX<device>/birth.")

    @property
    def topics(self) -> tuple[TopicTemplate, ...]:
        """All templates of readings: those of `topic` and `trailer`, and what is to be republished."""
        return tuple(dict.fromkeys((*self.topic, *self.trailer, *(source for source, _ in self.republish))))

    @property
    def side_topics(self) -> tuple[TopicTemplate, ...]:
        """Where devices, stages, operators and brokers write about themselves; all that is no reading."""
        return tuple(TopicTemplate(f"{self.prefix}{{device_id}}/{what}") for what in _SIDE_TOPICS)


@dataclass(frozen=True, slots=True)
class Export:
    """Where spans are sent to, and taken from."""

    otlp: str = _setting(parse_endpoint, "off", "URL",
        "Trace backend to send every span to, OTLP over HTTP. What it cannot take waits on disk. "
        "A backend named for the first time is sent all that is stored.")
    otlp_headers_file: Path | None = _setting(parse_path, None, "FILE",
        "Headers to send to the trace backend, such as credentials: lines of NAME: VALUE, mode 0600.")
    otlp_compression: str = _setting(one_of("auto", "gzip", "none"), "auto", "HOW",
        "What is sent to the trace backend: gzip, none, or auto: gzip unless the backend is on this machine, where "
        "compressing costs processor time and saves nothing.")
    otlp_listen: Address | None = _setting(parse_address, "127.0.0.1:4318", "HOST:PORT",
        "Where the stages after the shim send their spans, OTLP over HTTP. Port 0: any free one; off: nowhere.")


@dataclass(frozen=True, slots=True)
class Storage:
    """What is kept, for how long, and whose it is."""

    state: Path = _setting(parse_path, None, "DIR",
        "Folder of what must survive: database, key, client id. One shim per folder. "
        "Default: this user's state folder.")
    key_file: Path = _setting(parse_path, None, "FILE",
        "Secret of 16..64 bytes that trace-ids of seqref messages are derived from; the same on every host of a "
        "tenant, mode 0600. Default: STATE/key, made at the first start.")
    tenant: str = _setting(text(255, "a tenant"), "", "NAME",
        "Keeps equal device ids of different owners apart, 0..255 bytes.")
    keep: int = _setting(whole_number(1, 3_650, "days"), 14, "DAYS",
        "Forget what is older than this many days: messages, spans, the counts of boots that send nothing any more.")
    max_spans: int = _setting(whole_number(1_000, 10**10, "spans"), 1_000_000, "SPANS",
        "Keep at most this many spans on disk; the oldest go first.")
    max_messages: int = _setting(whole_number(1_000, 10**10, "messages"), 1_000_000, "MESSAGES",
        "Keep at most this many messages in the ledger; the oldest go first.")
    max_devices: int = _setting(whole_number(1_000, 10**7, "devices"), 200_000, "DEVICES",
        "Remember this many devices in memory, about 2 kB each; more work too, slower.")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The ledger that several shims share."""

    ledger: str = _setting(parse_ledger, "sqlite", "URL",
        "Where is counted which messages were seen: sqlite, in the state folder of this shim alone; or "
        "redis://HOST:6379/0 (rediss:// for TLS), Redis 7 or Valkey, which several shims share.")
    ledger_username: str = _setting(text(255, "a user name"), "", "NAME",
        "User name at Redis. Default: its default user.")
    ledger_password_file: Path | None = _setting(parse_path, None, "FILE",
        "File whose first line is the password at Redis.")
    share: str = _setting(parse_name, None, "GROUP",
        "Share the readings with the other shims of this group: each message goes to one of them "
        "($share/GROUP/...). Needs --ledger redis://..., and the same --key-file on all.", absent="")

    def on_share(self, topic_filter: str) -> str:
        """A filter as it is subscribed to where one shim of the group is to get each message."""
        return f"$share/{self.share}/{topic_filter}" if self.share else topic_filter


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are kept."""

    sample: int = _setting(parse_rate, "100%", "RATE",
        "Share of the traces to keep of what devices sample, such as 1% or 1/1000, by the trace-id: all shims and "
        "services with the same rate keep the same traces. Everything else is counted all the same.")
    sample_limit: int = _setting(whole_number(0, 10**6, "traces a second"), 0, "TRACES",
        "Keep at most this many traces a second of those; 0: no limit.")
    sample_flag_cap: int = _setting(whole_number(0, 10**6, "traces a minute"), 0, "TRACES",
        "Keep this many traces a minute of each device beyond the rate, of those that the device itself sampled.")
    sample_device_rate: int = _setting(parse_device_rate, "unknown", "RATE",
        "What share a device samples that never reports it; only then can its spans tell how many traces they stand "
        "for (ot=th in tracestate). unknown: they do not.")
    tail: str = _setting(one_of("on", "off"), "off", "on|off",
        "Decide about traces again when their stages have reported: what failed, was lost or slow is kept whatever "
        "its odds were. Spans go out after that.")
    tail_wait: int = _setting(whole_number(1, 3_600, "seconds"), 10, "SECONDS",
        "How long a message waits for its stages; on disk.")
    tail_slow: int = _setting(whole_number(0, 3_600_000, "ms"), 0, "MS",
        "Keep traces with a span of this length or longer; 0: length is no reason.")
    tail_baseline: int = _setting(parse_rate, "100%", "RATE",
        "Share of what the head kept that stays without a further reason.")
    tail_neighbours: int = _setting(whole_number(0, 1_000, "messages"), 0, "MESSAGES",
        "Keep this many messages of the same boot before and behind one that failed or was lost.")

    def head_settings(self, max_devices: int) -> HeadSettings:
        """What the head keeps; `max_devices` are remembered."""
        return HeadSettings(
            self.sample, self.sample_limit, self.sample_flag_cap, self.sample_device_rate, max_devices)

    @property
    def tail_rules(self) -> TailRules | None:
        """What the tail keeps, None when it is off."""
        if self.tail == "off":
            return None
        around = self.tail_neighbours
        return TailRules(slow_ms=self.tail_slow, before=around, after=around, baseline=self.tail_baseline,
                         wait_s=self.tail_wait)


@dataclass(frozen=True, slots=True)
class Logging:
    """What is logged, and how."""

    log_level: str = _setting(one_of("debug", "info", "warning", "error"), "info", "LEVEL",
        "debug (one line per message), info, warning or error.")
    log_format: str = _setting(one_of("json", "console"), None, "FORMAT",
        "json or console. Default: console on a terminal, else json.", absent="")
# fmt: on


GROUPS: dict[str, type[Any]] = {
    "connection": Connection,
    "readings": Readings,
    "export": Export,
    "storage": Storage,
    "cluster": Cluster,
    "sampling": Sampling,
    "logging": Logging,
}
SETTINGS = tuple(
    Setting(row.name, *row.metadata["row"], **row.metadata["more"])
    for group in GROUPS.values()
    for row in fields(group)
)
