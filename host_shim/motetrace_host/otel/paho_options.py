"""What can be set about the paho instrumentation: by argument, or by the environment for a program nobody edits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from motetrace_host.core.mqtt.topics import Destinations

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class PahoOptions:
    """How messages are traced.

    Args:
        link_only: a callback's span begins a trace of its own and links to the message's.
        link_only_topics: the same on these topics alone, such as those of wills that others set.
        payload_member: look into JSON payloads, and put the context there for MQTT 3.1.1.
        topics: templates that name destinations; those with `{device_id}` name devices too.
    """

    link_only: bool
    link_only_topics: Destinations
    payload_member: bool
    topics: Destinations


def load(
    *,
    link_only: bool | None = None,
    link_only_topics: Iterable[str] | None = None,
    payload_member: bool | None = None,
    topics: Iterable[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> PahoOptions:
    """Return what the arguments say, and where they are None what the environment says.

    MOTETRACE_PAHO_LINK_ONLY and _PAYLOAD_MEMBER are true or false; _LINK_ONLY_TOPICS and _TOPICS are joined by commas.

    Raises:
        ValueError: a value of the environment is none, or a template is broken; names it.
    """
    return PahoOptions(
        _flag(environment, "LINK_ONLY") if link_only is None else link_only,
        Destinations(_list(environment, "LINK_ONLY_TOPICS") if link_only_topics is None else link_only_topics),
        _flag(environment, "PAYLOAD_MEMBER") if payload_member is None else payload_member,
        Destinations(_list(environment, "TOPICS") if topics is None else topics),
    )


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(f"MOTETRACE_PAHO_{name}", "").strip().lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(f"MOTETRACE_PAHO_{name} is {text[:40]!r}; it must be true or false")
    return text in _TRUE


def _list(environment: Mapping[str, str], name: str) -> list[str]:
    return [text.strip() for text in environment.get(f"MOTETRACE_PAHO_{name}", "").split(",") if text.strip()]
