"""Where the settings come from: flags, then the environment, then one TOML file, then defaults.

The file is the one named by --config or MOTETRACE_CONFIG. Why none is looked for in the working folder: a shim that
behaves differently depending on where it is started is hard to find out about.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motetrace_host.core.topic import TopicTemplate
from motetrace_host.core.topic_overlap import overlap
from motetrace_host.settings import SETTINGS, Address, BrokerUrl, Setting

CONFIG_VARIABLE = "MOTETRACE_CONFIG"


class ConfigError(ValueError):
    """The operator's fault; one line per mistake, each with value, allowed range and remedy."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Config:
    """What `motetrace run` was told; see `settings.SETTINGS` for each field."""

    broker: BrokerUrl
    topic: tuple[TopicTemplate, ...]
    otlp: str
    otlp_listen: Address | None
    state: Path
    key_file: Path
    tenant: str
    prefix: str
    client_id: str
    session_expiry: int
    receive_maximum: int
    republish: tuple[tuple[TopicTemplate, TopicTemplate], ...]
    trailer: tuple[TopicTemplate, ...]
    max_spans: int
    max_messages: int
    queue: int
    username: str
    password_file: Path | None
    ca_file: Path | None
    log_level: str
    log_format: str

    @property
    def birth_topic(self) -> TopicTemplate:
        """Where devices say at boot what they are."""
        return TopicTemplate(self.prefix + "{device_id}/birth")

    @property
    def topics(self) -> tuple[TopicTemplate, ...]:
        """All templates of readings: those of `topic` and `trailer`, and what is to be republished."""
        return tuple(dict.fromkeys((*self.topic, *self.trailer, *(source for source, _ in self.republish))))


def load(flags: Mapping[str, object], environment: Mapping[str, str], default_state: Path) -> Config:
    """Put the settings together.

    Args:
        flags: by setting name, None or empty when not given; `config` may name the TOML file.
        environment: `MOTETRACE_*`; a list is separated by commas, the two of a pair by a space. An empty one is not
            set.
        default_state: the state folder when none is named.
    Raises:
        ConfigError: with every mistake there is.
    """
    mistakes: list[str] = []
    file_name = flags.get("config") or environment.get(CONFIG_VARIABLE)
    table = _read_file(Path(str(file_name)), mistakes) if file_name else {}
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        given, source = _find(setting, flags, environment, table, str(file_name))
        try:
            values[setting.name] = _parse(setting, given)
        except ValueError as error:
            mistakes.append(f"{source} {_shown(given)}: {error}")
    if mistakes:
        raise ConfigError(mistakes)
    values["state"] = values["state"] or default_state
    values["key_file"] = values["key_file"] or values["state"] / "key"
    config = Config(**values)
    mistakes.extend(_contradictions(config))
    if mistakes:
        raise ConfigError(mistakes)
    return config


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
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key.replace("-", "_"), names, 1, 0.5)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            mistakes.append(f"{key} in {path} is no setting; {remedy}")
    return table


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
        return setting.parse(given) if given is not None else ("" if setting.name in _TEXTS else None)
    if given is None:
        return ()
    if not isinstance(given, (list, tuple)):
        raise ValueError("a list is needed")
    return tuple(setting.parse(one) for one in given)


_TEXTS = ("client_id", "log_format")  # absent is ""


def _contradictions(config: Config) -> Iterator[str]:
    if not config.topics:
        yield "--topic is missing: name at least one, for example --topic 'devices/{device_id}/telemetry'"
    ours = [*config.topics, config.birth_topic]
    for source, target in config.republish:
        for followed in ours:
            if overlap(target.filter, followed.filter):
                yield (
                    f"--republish {source.template} {target.template}: the target would come back in on "
                    f"{followed.template}, without end; choose another, such as traced/{{device_id}}/telemetry"
                )
    if config.ca_file and not config.broker.tls:
        yield f"--ca-file {config.ca_file} needs TLS: write mqtts:// in --broker"
    if config.password_file and not config.username:
        yield f"--password-file {config.password_file} needs --username"


def _shown(given: object) -> str:
    return " ".join(str(part) for part in given) if isinstance(given, (list, tuple)) else repr(given)
