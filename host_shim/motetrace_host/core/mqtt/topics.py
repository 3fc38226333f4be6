"""MQTT topics and filters, and where the device id stands in a topic: `devices/{device_id}/telemetry`.

A template is what goes into span attributes (`messaging.destination.template`), never the raw topic: it names few
values for many devices.
Source: MQTT 5.0, 4.7 (topic names and filters).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Final

SLOT: Final = "{device_id}"
MAX_DEVICE_ID_BYTES: Final = 255
MAX_TOPIC_BYTES: Final = 65_535
_DEVICE_SLOT: Final = re.compile(re.escape(SLOT))
_ANY_SLOT: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.]*\}")
_CACHED_TOPICS: Final = 4096


class _Pattern:
    """A topic filter in which a level may also be a name in braces, which stands for any level as `+` does."""

    __slots__ = ("_levels", "_open_ended", "filter", "text")

    def __init__(self, text: str, slot: re.Pattern[str] = _DEVICE_SLOT) -> None:
        levels = text.split("/")
        _check(text, levels, slot)
        self.text = text
        self._open_ended = levels[-1] == "#"
        if self._open_ended:
            levels.pop()
        # The literal that a topic must have at each level, None where anything goes.
        self._levels = [None if level == "+" or slot.fullmatch(level) else level for level in levels]
        wild = ["+" if level is None else level for level in self._levels]
        self.filter = "/".join([*wild, "#"] if self._open_ended else wild)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def parts(self, topic: str) -> list[str] | None:
        """The levels of a topic that fits, one for each of the pattern's and perhaps a rest; None when it does not."""
        levels = self._levels
        parts = topic.split("/", len(levels))  # bounded: at most one part more than the pattern has
        if len(parts) != len(levels) and not (self._open_ended and len(parts) > len(levels)):
            return None
        if topic.startswith("$") and (not levels or levels[0] is None):
            return None  # a wildcard in front stands for no topic such as $SYS
        for level, part in zip(levels, parts, strict=False):
            if level is not None and level != part:
                return None
        return parts


class TopicFilter(_Pattern):
    """A topic filter, or a topic template taken as one.

    Args:
        text: MQTT levels joined by '/'; a level may be `+` or `{device_id}`, the last may be `#`. 1..65,535 bytes in
            UTF-8, without `$share`.
    Raises:
        ValueError: it breaks a rule; names the level and the remedy.
    """

    __slots__ = ()

    def match(self, topic: str) -> bool:
        """Whether a topic, any string as received, is matched; a wildcard in front stands for no `$` topic."""
        return self.parts(topic) is not None


class TopicTemplate(_Pattern):
    """A topic template with exactly one level `{device_id}`.

    Args:
        text: MQTT levels joined by '/'; one level is `{device_id}`, others are literals or `+`; the last may be `#`.
            At most 65,535 bytes in UTF-8.
    Raises:
        ValueError: the template breaks a rule; names the level and the remedy.
    """

    __slots__ = ("_slot",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        levels = text.split("/")
        if levels.count(SLOT) != 1:
            raise ValueError(
                f"template {text[:200]!r} must hold the level {SLOT} exactly once, as in 'devices/{SLOT}/telemetry'"
            )
        self._slot = levels.index(SLOT)

    @property
    def template(self) -> str:
        """The template as it was given."""
        return self.text

    def match(self, topic: str) -> str | None:
        """Find the device id in a topic, any string as received.

        Returns:
            The device id, 1..255 bytes in UTF-8 and without NUL, or None when the topic does not fit the template.
        """
        parts = self.parts(topic)
        return parts[self._slot] if parts is not None and is_device_id(parts[self._slot]) else None

    def fill(self, device_id: str) -> str:
        """Write the topic of one device.

        Args:
            device_id: 1..255 bytes in UTF-8, without '/', '+', '#' and NUL.
        Raises:
            ValueError: the device id breaks the rule, or the template holds wildcards and so names no single topic.
        """
        if not is_topic_level(device_id):
            raise ValueError(
                f"device_id {device_id[:80]!r} must be 1..{MAX_DEVICE_ID_BYTES} bytes in UTF-8 "
                "without '/', '+', '#' and NUL"
            )
        levels = self.text.split("/")
        if "+" in levels or "#" in levels:
            raise ValueError(f"template {self.text!r} holds wildcards; a topic to publish to needs literal levels")
        levels[self._slot] = device_id
        return "/".join(levels)


class Destinations:
    """Templates with names of any kind in braces, and plain filters, tried in order to name the topics of spans.

    Args:
        templates: MQTT levels joined by '/'; a level `{name}` or `+` stands for any one level, `#` at the end for any
            number of them, others for themselves.
    Raises:
        ValueError: a template is empty or a wildcard is not a whole level; names it.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self.templates = tuple(templates)
        self._patterns = [_Pattern(template, _ANY_SLOT) for template in self.templates]
        # Bounded, because senders choose the topics.
        self.match = functools.lru_cache(_CACHED_TOPICS)(self._match)

    def _match(self, topic: str) -> str | None:
        """Return the first template that a topic fits, None when none does."""
        return next((pattern.text for pattern in self._patterns if pattern.parts(topic) is not None), None)


def _check(text: str, levels: list[str], slot: re.Pattern[str]) -> None:
    """Refuse what is no filter."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"topic template {text[:80]!r} is not valid UTF-8 text") from None
    if not 1 <= size <= MAX_TOPIC_BYTES or "\0" in text:
        raise ValueError(f"a topic template or filter has 1..{MAX_TOPIC_BYTES} bytes and no NUL; this one has {size}")
    if levels[0] == "$share":
        raise ValueError(f"topic template {text[:200]!r} starts with $share; name the filter behind the group alone")
    for at, level in enumerate(levels):
        if level == "+" or slot.fullmatch(level) or (level == "#" and at == len(levels) - 1):
            continue
        if any(char in level for char in "+#{}"):
            name = SLOT if slot is _DEVICE_SLOT else "{name}"
            raise ValueError(
                f"level {level[:80]!r} of topic template {text[:200]!r}: "
                f"'+', '#' and {name} must be whole levels, '#' the last"
            )


def is_topic_level(text: str) -> bool:
    """Whether a text can be a device's id, or another name, as one level of a topic to publish to."""
    return is_device_id(text) and not any(char in text for char in "/+#")


def is_device_id(text: str) -> bool:
    """Whether a text can be a device's id: 1..255 bytes in UTF-8, without NUL."""
    try:
        return 1 <= len(text.encode()) <= MAX_DEVICE_ID_BYTES and "\0" not in text
    except UnicodeEncodeError:  # lone surrogates: not text that MQTT can carry
        return False


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that two topic filters, without $share, both match."""
    levels, others = one.split("/"), other.split("/")
    # Wildcards in front do not match topics that begin with `$`.
    if (levels[0] in ("+", "#")) != (others[0] in ("+", "#")) and (levels[0][:1] == "$" or others[0][:1] == "$"):
        return False
    for level, counterpart in zip(levels, others, strict=False):
        if "#" in (level, counterpart):
            return True
        if "+" not in (level, counterpart) and level != counterpart:
            return False
    longer = levels if len(levels) > len(others) else others
    shorter = min(len(levels), len(others))
    return len(levels) == len(others) or longer[shorter:] == ["#"]
