"""The settings of `motetrace run`: one table for flags, environment and file. Each row says what is allowed.

A parser takes what was written (text from a flag or the environment, any TOML value from the file) and gives the
value, or raises ValueError with what is allowed and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from motetrace_host.core.mqtt.topics import TopicFilter, TopicTemplate
from motetrace_host.core.sampling import threshold
from motetrace_host.core.sampling.head import UNKNOWN
from motetrace_host.core.wire.trust import TrustPolicy

Parser = Callable[[object], Any]


class BrokerUrl(NamedTuple):
    """Where the broker is."""

    host: str
    port: int
    tls: bool


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Setting:
    """One row.

    Attributes:
        name: in TOML as it is, as a flag with dashes, in the environment upper case behind `MOTETRACE_`.
        default: as one would write it; None: has none, or one that is made at run time.
        count: 1; 2 for a pair. many: may be given several times.
    """

    name: str
    parse: Parser
    default: object
    metavar: str
    help: str
    count: int = 1
    many: bool = False

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
    """Text of at most so many bytes, without control characters."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > max_bytes or not value.isprintable():
            raise ValueError(f"{what} is printable text of at most {max_bytes} bytes")
        return value

    return parse


def path(value: object) -> Path:
    """A path; `~` is the home folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path is needed")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"whose home folder is meant is not known: {error}") from error


def broker(value: object) -> BrokerUrl:
    """`mqtt://host:1883`, `mqtts://host:8883`."""
    remedy = "write mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS"
    try:
        url = urlsplit(str(value))
        port = url.port
    except ValueError:
        raise ValueError(f"the port is outside 1..65535; {remedy}") from None
    if url.username is not None or url.password is not None:
        raise ValueError(
            "user name and password do not belong in the address (others see it in the process list); "
            "use --username and --password-file"
        )
    is_mqtt = url.scheme in ("mqtt", "mqtts") and url.hostname
    if not is_mqtt or url.path not in ("", "/") or url.query or url.fragment:
        raise ValueError(remedy)
    assert url.hostname is not None  # noqa: S101 (mypy)
    if port == 0:
        raise ValueError(f"the port is outside 1..65535; {remedy}")
    tls = url.scheme == "mqtts"
    return BrokerUrl(url.hostname, port or (8883 if tls else 1883), tls)


def ledger(value: object) -> str:
    """`redis://host:6379/0`, `rediss://...`, written out; "" for "sqlite"."""
    if value == "sqlite":
        return ""
    remedy = "write sqlite, redis://HOST[:6379][/0], or rediss:// for TLS"
    try:
        url = urlsplit(str(value))
        port = url.port if url.port is not None else 6379
    except ValueError:
        raise ValueError(f"the port is outside 1..65535; {remedy}") from None
    if url.username is not None or url.password is not None:
        raise ValueError(
            "user name and password do not belong in the address (others see it in the process list); "
            "use --ledger-username and --ledger-password-file"
        )
    number = url.path.strip("/") or "0"
    is_redis = url.scheme in ("redis", "rediss") and url.hostname
    if not is_redis or not re.fullmatch(r"[0-9]{1,5}", number) or url.query or url.fragment or not port:
        raise ValueError(remedy)
    host = f"[{url.hostname}]" if url.hostname and ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}:{port}/{int(number)}"


def group(value: object) -> str:
    """The name of a shared subscription: no level separator, no wildcard."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_.:-]{1,64}", value):
        raise ValueError("1..64 characters of 0-9 A-Z a-z _ . : -")
    return value


def topic(value: object) -> TopicTemplate:
    """A topic template with one level `{device_id}`."""
    return TopicTemplate(str(value))


def rate(value: object) -> int:
    """A share of traces, as a threshold 0..2**56."""
    return threshold.of_rate(threshold.parse_rate(str(value)))


def device_rate(value: object) -> int:
    """The same, or "unknown"."""
    return UNKNOWN if value == "unknown" else rate(value)


def republish(value: object) -> tuple[TopicTemplate, TopicTemplate]:
    """A pair of topic templates, the second without wildcards."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("two topic templates are needed, FROM and TO")
    source, target = topic(value[0]), topic(value[1])
    target.fill("device")  # raises where the template names no single topic
    return source, target


def trust(value: object) -> tuple[TopicFilter, TrustPolicy]:
    """A topic filter and a word of `TrustPolicy`."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("a topic filter and a policy are needed, FILTER POLICY")
    words = {policy.word: policy for policy in TrustPolicy}
    if value[1] not in words:
        raise ValueError(f"policies are {', '.join(words)}")
    return TopicFilter(str(value[0])), words[str(value[1])]


def user_property(value: object) -> str:
    """The name of a user property."""
    name = text(255, "the name of a user property")(value)
    if not name or name in _OUR_PROPERTIES:
        raise ValueError(f"a name of 1..255 bytes is needed that is none of {', '.join(sorted(_OUR_PROPERTIES))}")
    return str(name)


_OUR_PROPERTIES = frozenset(("traceparent", "seqref", "tracestate", "baggage"))


def endpoint(value: object) -> str:
    """An OTLP/HTTP base URL, or "off"."""
    if value == "off":
        return ""
    url = urlsplit(str(value))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("write http://HOST:4318, https://HOST[:PORT][/PATH], or off")
    return str(value)


def address(value: object) -> Address | None:
    """`host:port`, or "off"."""
    if value == "off":
        return None
    host, separator, port = str(value).rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("write HOST:PORT with a port of 0..65535 (0: any free one), or off")
    return Address(host, int(port))


def prefix(value: object) -> str:
    """The start of the side topics: ends in '/', holds no wildcard."""
    if not isinstance(value, str) or not re.fullmatch(r"[^/$+#{}\0][^+#{}\0]*/", value):
        raise ValueError("it ends in '/', begins with neither '/' nor '$', has none of + # { }; for example motetrace/")
    TopicTemplate(value + "{device_id}/birth")
    return value


def client_id(value: object) -> str:
    """What every MQTT broker takes."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Za-z_.:-]{1,64}", value):
        raise ValueError("1..64 characters of 0-9 A-Z a-z _ . : -")
    return value


SETTINGS = (
    Setting("broker", broker, "mqtt://127.0.0.1:1883", "URL",
            "The MQTT 5 broker: mqtt://HOST:PORT, or mqtts:// for TLS."),
    Setting("topic", topic, None, "TEMPLATE",
            "Readings to follow. One level is {device_id}; + and # are allowed. Repeat it for more topics.", many=True),
    Setting("otlp", endpoint, "off", "URL",
            "Trace backend to send every span to, OTLP over HTTP. What it cannot take waits on disk. "
            "A backend named for the first time is sent all that is stored."),
    Setting("otlp_headers_file", path, None, "FILE",
            "Headers to send to the trace backend, such as credentials: lines of NAME: VALUE, mode 0600."),
    Setting("otlp_compression", one_of("auto", "gzip", "none"), "auto", "HOW",
            "What is sent to the trace backend: gzip, none, or auto: gzip unless the backend is on this machine, where "
            "compressing costs processor time and saves nothing."),
    Setting("otlp_listen", address, "127.0.0.1:4318", "HOST:PORT",
            "Where the stages after the shim send their spans, OTLP over HTTP. Port 0: any free one; off: nowhere."),
    Setting("state", path, None, "DIR",
            "Folder of what must survive: database, key, client id. One shim per folder. "
            "Default: this user's state folder."),
    Setting("key_file", path, None, "FILE",
            "Secret of 16..64 bytes that trace-ids of seqref messages are derived from; the same on every host of a "
            "tenant, mode 0600. Default: STATE/key, made at the first start."),
    Setting("tenant", text(255, "a tenant"), "", "NAME",
            "Keeps equal device ids of different owners apart, 0..255 bytes."),
    Setting("prefix", prefix, "motetrace/", "TOPIC/",
            "Where devices publish their birth messages: PREFIX<device>/birth."),
    Setting("client_id", client_id, None, "ID",
            "MQTT client id; the broker keeps the session under it. Default: drawn once and kept in STATE/client-id."),
    Setting("ledger", ledger, "sqlite", "URL",
            "Where is counted which messages were seen: sqlite, in the state folder of this shim alone; or "
            "redis://HOST:6379/0 (rediss:// for TLS), Redis 7 or Valkey, which several shims share."),
    Setting("ledger_username", text(255, "a user name"), "", "NAME", "User name at Redis. Default: its default user."),
    Setting("ledger_password_file", path, None, "FILE", "File whose first line is the password at Redis."),
    Setting("share", group, None, "GROUP",
            "Share the readings with the other shims of this group: each message goes to one of them "
            "($share/GROUP/...). Needs --ledger redis://..., and the same --key-file on all."),
    Setting("session_expiry", whole_number(1, 2**32 - 1, "seconds"), 86_400, "SECONDS",
            "How long the broker keeps messages for this shim while it is away."),
    Setting("receive_maximum", whole_number(1, 65_535, "messages"), None, "MESSAGES",
            "How many messages the broker may send ahead of our acknowledgement; at most --queue. "
            "Default: 10000, or --queue when that is less."),
    Setting("receive", one_of("bulk", "paho"), "bulk", "READER",
            "How packets are read: bulk (many at once), or paho (paho-mqtt's own reader: slow, and it drops the "
            "connection on some lawful messages; to find out whether the bulk reader is at fault)."),
    Setting("republish", republish, None, "FROM TO",
            "Publish readings of template FROM once more to TO, with a full traceparent user property and without our "
            "members in the payload, for consumers that cannot derive ids. Repeatable.", count=2, many=True),
    Setting("trailer", topic, None, "TEMPLATE",
            "Readings to follow whose binary payloads end in a trailer with the context. Repeatable.", many=True),
    Setting("trust", trust, None, "FILTER POLICY",
            "What is done with contexts that come on the topics of FILTER: continue; resample: continue, but whether "
            "there are spans is ours to say; link: begin a trace of our own that links to the sender's; off: ignore. "
            "Repeatable, the first that matches counts. [default: continue]", count=2, many=True),
    Setting("device_property", user_property, None, "NAME",
            "Take the device id from this user property, which the broker sets, and not from the topic."),
    Setting("keep", whole_number(1, 3_650, "days"), 14, "DAYS",
            "Forget what is older than so many days: messages, spans, the counts of boots that nobody hears any more."),
    Setting("max_spans", whole_number(1_000, 10**10, "spans"), 1_000_000, "SPANS",
            "Keep at most so many spans on disk; the oldest go first."),
    Setting("max_messages", whole_number(1_000, 10**10, "messages"), 1_000_000, "MESSAGES",
            "Keep at most so many messages in the ledger; the oldest go first."),
    Setting("max_devices", whole_number(1_000, 10**7, "devices"), 200_000, "DEVICES",
            "Remember so many devices in memory, about 2 kB each; more work too, slower."),
    Setting("queue", whole_number(100, 1_000_000, "messages"), 50_000, "MESSAGES",
            "How many received messages may wait in memory (and 64 MiB). Beyond it QoS 0 is shed and counted, "
            "QoS 1 waits in the broker."),
    Setting("sample", rate, "100%", "RATE",
            "Share of the traces to keep of what devices sample, such as 1% or 1/1000, by the trace-id: all shims and "
            "services with the same rate keep the same traces. Everything else is counted all the same."),
    Setting("sample_limit", whole_number(0, 10**6, "traces a second"), 0, "TRACES",
            "Keep at most so many traces a second of those; 0: no limit."),
    Setting("sample_flag_cap", whole_number(0, 10**6, "traces a minute"), 0, "TRACES",
            "Keep so many traces a minute of each device beyond the rate, of those that the device itself sampled."),
    Setting("sample_device_rate", device_rate, "unknown", "RATE",
            "What share a device samples that never said so; only then can its spans tell how many traces they stand "
            "for (ot=th in tracestate). unknown: they do not."),
    Setting("tail", one_of("on", "off"), "off", "on|off",
            "Decide about traces again when their stages have spoken: what failed, was lost or slow is kept whatever "
            "its odds were. Spans go out after that."),
    Setting("tail_wait", whole_number(1, 3_600, "seconds"), 10, "SECONDS",
            "How long a message waits for its stages; on disk."),
    Setting("tail_slow", whole_number(0, 3_600_000, "ms"), 0, "MS",
            "Keep traces with a span of this length or longer; 0: length is no reason."),
    Setting("tail_baseline", rate, "100%", "RATE",
            "Share of what the head kept that stays without a further reason."),
    Setting("tail_neighbours", whole_number(0, 1_000, "messages"), 0, "MESSAGES",
            "Keep so many messages of the same boot before and behind one that failed or was lost."),
    Setting("username", text(65_535, "a user name"), "", "NAME", "User name at the broker."),
    Setting("password_file", path, None, "FILE", "File whose first line is the password at the broker."),
    Setting("ca_file", path, None, "FILE",
            "Certificates that the broker's is checked against (PEM), with mqtts://. Default: the system's."),
    Setting("client_cert", path, None, "FILE",
            "Certificate that we show to the broker (PEM, with the chain behind it), with mqtts://."),
    Setting("client_key", path, None, "FILE", "Private key of --client-cert (PEM, without passphrase), mode 0600."),
    Setting("log_level", one_of("debug", "info", "warning", "error"), "info", "LEVEL",
            "debug (one line per message), info, warning or error."),
    Setting("log_format", one_of("json", "console"), None, "FORMAT",
            "json or console. Default: console on a terminal, else json."),
)  # fmt: skip
