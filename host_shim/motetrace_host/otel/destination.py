"""Topics by their templates: `devices/{device_id}/telemetry`. Few names for many topics, as span names must be."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Final

_SLOT: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.]*\}")
_CACHED_TOPICS: Final = 4096


class Destinations:
    """Templates, and plain MQTT filters, tried in order.

    Args:
        templates: MQTT levels joined by '/'; a level `{name}` or `+` stands for any one level, `#` at the end for any
            number of them, others for themselves.
    Raises:
        ValueError: a template is empty or a wildcard is not a whole level; names it.
    Source: MQTT 5, section 4.7.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self.templates = tuple(templates)
        self._patterns = [(template, _pattern(template)) for template in self.templates]
        # Bounded, because topics are the senders' to choose.
        self.match = functools.lru_cache(_CACHED_TOPICS)(self._match)

    def _match(self, topic: str) -> str | None:
        """Return the first template that a topic fits, None when none does."""
        for template, pattern in self._patterns:
            if pattern.fullmatch(topic):
                return template
        return None


def _pattern(template: str) -> re.Pattern[str]:
    levels = template.split("/")
    if not template or levels[0] == "$share":
        raise ValueError(f"topic template {template[:200]!r} must be a topic's levels, without $share")
    parts: list[str] = []
    for at, level in enumerate(levels):
        if level == "#" and at == len(levels) - 1:
            break
        if level == "+" or _SLOT.fullmatch(level):
            parts.append("[^/]*")
        elif any(char in level for char in "+#{}"):
            raise ValueError(
                f"level {level[:80]!r} of topic template {template[:200]!r}: "
                "'+', '#' and '{name}' must be whole levels, '#' the last"
            )
        else:
            parts.append(re.escape(level))
    text = "/".join(parts)
    if levels[-1] == "#":  # `a/#` fits `a` too
        text = f"{text}(?:/.*)?" if parts else ".*"
    # A wildcard in front does not stand for `$SYS` and its like.
    wild = levels[0] in ("+", "#") or _SLOT.fullmatch(levels[0]) is not None
    return re.compile(("(?!\\$)" if wild else "") + text, re.DOTALL)
