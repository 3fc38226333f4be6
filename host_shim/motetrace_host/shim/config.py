"""Where the settings come from: flags, then the environment, then one TOML file, then defaults.

The file is the one named by --config or MOTETRACE_CONFIG. Why none is looked for in the working folder: a shim that
behaves differently depending on where it is started is hard to find out about.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from motetrace_host import settings
from motetrace_host.core.errors import OperatorError
from motetrace_host.core.mqtt.topics import TopicFilter, overlap
from motetrace_host.settings import GROUPS, SETTINGS, Setting

CONFIG_VARIABLE = "MOTETRACE_CONFIG"
KEY_NAME = "key"
RECEIVE_MAXIMUM = 10_000
_PREFIX = "MOTETRACE_"
# Read by others: what fetches the demo's services, the instrumentation of paho, the tests.
_OTHERS_VARIABLES = re.compile(r"MOTETRACE_(PARTS|DEBIAN_MIRROR|(PAHO|TEST)_.+)")
# Kubernetes and Docker set these in every container for a service that is called motetrace or motetrace-something.
_SERVICE_LINKS = re.compile(
    r"MOTETRACE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)


class ConfigError(OperatorError):
    """The operator's fault; one line per mistake, each with value, allowed range and remedy."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings that `motetrace run` works with, by group; see the groups for each."""

    connection: settings.Connection
    readings: settings.Readings
    export: settings.Export
    storage: settings.Storage
    cluster: settings.Cluster
    sampling: settings.Sampling
    logging: settings.Logging


def load(flags: Mapping[str, object], environment: Mapping[str, str], default_state: Path) -> Config:
    """Put the settings together.

    Args:
        flags: by setting name, None or empty when not given; `config` may name the TOML file.
        environment: `MOTETRACE_*`; a list is separated by commas, the two of a pair by a space. An empty one is not
            set; one that nobody reads is a mistake.
        default_state: the state folder when none is named.
    Raises:
        ConfigError: with every mistake there is.
    """
    mistakes = list(_unknown_variables(environment))
    file_name = flags.get("config") or environment.get(CONFIG_VARIABLE)
    table = _read_file(Path(str(file_name)), mistakes) if file_name else {}
    values = _values(SETTINGS, flags, environment, table, str(file_name), mistakes)
    values["state"] = values["state"] or default_state
    values["key_file"] = values["key_file"] or values["state"] / KEY_NAME
    values["receive_maximum"] = values["receive_maximum"] or min(RECEIVE_MAXIMUM, values["queue"])
    config = Config(
        **{name: group(**{row.name: values[row.name] for row in fields(group)}) for name, group in GROUPS.items()}
    )
    mistakes.extend(_contradictions(config))
    if mistakes:
        raise ConfigError(mistakes)
    return config


def some(names: Sequence[str], flags: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, Any]:
    """The values of some settings, from flags, environment and defaults; raises ConfigError as `load` does."""
    wanted = [setting for setting in SETTINGS if setting.name in names]
    return _values(wanted, flags, environment, {}, "", [])


def _values(
    wanted: Sequence[Setting],
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    table: Mapping[str, object],
    file: str,
    mistakes: list[str],
) -> dict[str, Any]:
    values = {}
    for setting in wanted:
        given, source = _find(setting, flags, environment, table, file)
        try:
            values[setting.name] = _parse(setting, given)
        except ValueError as error:
            mistakes.append(f"{source} {_shown(given)}: {error}")
    if mistakes:
        raise ConfigError(mistakes)
    return values


def _read_file(path: Path, mistakes: list[str]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        mistakes.append(f"configuration file {path}: {error.strerror}; name one that exists with --config")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(f"configuration file {path} is not TOML: {error}")
        return {}
    names = [setting.name for setting in SETTINGS]
    mistakes.extend(
        f"{key} in {path} is no setting; {_nearest(key.replace('-', '_'), names)}" for key in table if key not in names
    )
    return table


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix that nobody reads: most likely a setting, misspelt, and its default would be taken."""
    known = {setting.variable for setting in SETTINGS} | {CONFIG_VARIABLE}
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name in known or not environment[name]:
            continue
        if not _OTHERS_VARIABLES.fullmatch(name) and not _SERVICE_LINKS.fullmatch(name):
            names = {variable.removeprefix(_PREFIX).lower(): variable for variable in sorted(known)}
            yield f"{name} in the environment is no setting; {_nearest(name.removeprefix(_PREFIX).lower(), names)}"


def _nearest(word: str, known: Sequence[str] | Mapping[str, str]) -> str:
    """Which known name was meant, or all; a mapping gives each name as it is to be shown."""
    shown = known if isinstance(known, Mapping) else {name: name for name in known}
    near = difflib.get_close_matches(word, list(shown), 1, 0.5)
    return f"did you mean {shown[near[0]]}?" if near else f"known are {', '.join(shown.values())}"


def _find(
    setting: Setting,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    table: Mapping[str, object],
    file: str,
) -> tuple[object, str]:
    """What was written for a setting, and where."""
    flag = flags.get(setting.name)
    if flag is not None and flag != ():
        return flag, setting.flag
    variable = environment.get(setting.variable)
    if variable:
        if not setting.many:
            return variable, setting.variable
        parts = [part.strip() for part in variable.split(",")]
        return [part.split() if setting.count == 2 else part for part in parts], setting.variable
    if setting.name in table:
        return table[setting.name], f"{setting.name} in {file}:"
    return setting.default, setting.flag


def _parse(setting: Setting, given: object) -> Any:
    if not setting.many:
        return setting.parse(given) if given is not None else setting.absent
    if given is None:
        return ()
    if not isinstance(given, (list, tuple)) or (setting.count == 2 and any(isinstance(one, str) for one in given)):
        raise ValueError(f"write a list: {setting.name} = {_as_list(setting, given)}")
    return tuple(setting.parse(one) for one in given)


def _as_list(setting: Setting, given: object) -> str:
    """How a list is written in TOML, as far as can be said with what was given."""
    if setting.count == 1:
        return json.dumps([given if isinstance(given, str) else setting.metavar], ensure_ascii=False)
    is_pair = isinstance(given, list) and len(given) == 2 and all(isinstance(part, str) for part in given)
    return json.dumps([given if is_pair else setting.metavar.split()], ensure_ascii=False)


def _contradictions(config: Config) -> Iterator[str]:
    connection, readings, export = config.connection, config.readings, config.export
    if not readings.topics:
        yield "--topic is missing: name at least one, for example --topic 'devices/{device_id}/telemetry'"
    yield from _overlaps(readings)
    yield from _ledger_contradictions(config.cluster)
    ours = [*readings.topics, *readings.side_topics]
    for source, target in readings.republish:
        for followed in ours:
            if overlap(target.filter, followed.filter):
                yield (
                    f"--republish {source.template} {target.template}: the target would come back in on "
                    f"{followed.template}, without end; choose another, such as traced/{{device_id}}/telemetry"
                )
    if config.sampling.tail == "on" and not export.otlp:
        yield "--tail on needs --otlp: it decides what is sent to the trace backend"
    if connection.receive_maximum > connection.queue:
        yield (
            f"--receive-maximum {connection.receive_maximum} is more than --queue {connection.queue}: what the broker "
            "may send ahead would not fit into the queue, and the connection would be renewed again and again; "
            "lower the former or raise the latter"
        )
    yield from _distrust(readings)
    yield from _tls_files(connection)
    if connection.password_file and not connection.username:
        yield f"--password-file {connection.password_file} needs --username"
    if export.otlp_headers_file and not export.otlp:
        yield f"--otlp-headers-file {export.otlp_headers_file} needs --otlp: name the backend that wants the headers"


def _distrust(readings: settings.Readings) -> Iterator[str]:
    """Rules of --trust that would never do anything: a misspelt one would leave a topic trusted unnoticed."""
    earlier: dict[str, TopicFilter] = {}
    for topic_filter, policy in readings.trust:
        written = f"--trust {topic_filter.text} {policy.word}"
        if not any(overlap(topic_filter.filter, topic.filter) for topic in readings.topics):
            followed = ", ".join(topic.template for topic in readings.topics)
            yield f"{written} matches no topic that is followed ({followed}); check how it is written"
        if topic_filter.filter in earlier:
            first = earlier[topic_filter.filter].text
            yield f"{written} comes behind {first}, and the first that matches counts; leave one of them"
        earlier.setdefault(topic_filter.filter, topic_filter)


def _tls_files(connection: settings.Connection) -> Iterator[str]:
    files = {
        "--ca-file": connection.ca_file,
        "--client-cert": connection.client_cert,
        "--client-key": connection.client_key,
    }
    given = {flag: path for flag, path in files.items() if path}
    for flag, path in given.items():
        if not connection.broker.tls:
            yield f"{flag} {path} needs TLS: write mqtts:// in --broker"
    for flag, other in (("--client-cert", "--client-key"), ("--client-key", "--client-cert")):
        if flag in given and other not in given:
            yield f"{flag} {given[flag]} needs {other}: a certificate and its private key go together"


def _ledger_contradictions(cluster: settings.Cluster) -> Iterator[str]:
    if cluster.share and not cluster.ledger:
        yield (
            f"--share {cluster.share} needs a ledger that the shims share: with one each, every shim would miss the "
            "numbers that the others got; name it with --ledger redis://HOST:6379/0"
        )
    if cluster.ledger_username and not cluster.ledger_password_file:
        yield f"--ledger-username {cluster.ledger_username} needs --ledger-password-file"
    if cluster.ledger_password_file and not cluster.ledger:
        yield f"--ledger-password-file {cluster.ledger_password_file} needs --ledger redis://HOST:6379/0"


def _overlaps(readings: settings.Readings) -> Iterator[str]:
    """Templates that can match the same topic: the broker sends such a message once for each, and only the first of
    them would say how it is read, whatever the others ask for."""
    flags = {source.template: "--republish" for source, _ in readings.republish}
    flags |= {topic.template: "--trailer" for topic in readings.trailer}
    flags |= {topic.template: "--topic" for topic in readings.topic}
    for one, other in itertools.combinations(readings.topics, 2):
        if overlap(one.filter, other.filter):
            yield (
                f"{flags[one.template]} {one.template} and {flags[other.template]} {other.template} match the same "
                "topics, so messages would be counted twice and read by the rules of one only; leave out the wider "
                "one, or write it so that they share no topic (the very same template may stand in --topic, --trailer "
                "and --republish)"
            )
    for topic, side in itertools.product(readings.topics, readings.side_topics):
        if overlap(topic.filter, side.filter):
            yield (
                f"{flags[topic.template]} {topic.template} matches {side.template}, whose messages would be taken for "
                "readings; write a narrower one, or another --prefix here, on the devices and in the stages"
            )
            return


def _shown(given: object) -> str:
    """What was written, without the credentials that somebody may have put into an address."""
    text = " ".join(str(part) for part in given) if isinstance(given, (list, tuple)) else repr(given)
    return re.sub(r"://[^/@\s]*@", "://***@", text)
