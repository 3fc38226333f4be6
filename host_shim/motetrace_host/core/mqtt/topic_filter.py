"""Which topics an MQTT filter matches, for settings that name a part of what is followed."""

from __future__ import annotations

from typing import Final

from motetrace_host.core.mqtt.topics import MAX_TOPIC_BYTES, SLOT

_ANY: Final = frozenset(("+", SLOT))


class TopicFilter:
    """A topic filter, or a topic template taken as one.

    Args:
        text: MQTT levels joined by '/'; one level may be `+` or `{device_id}`, the last may be `#`. 1..65,535 bytes in
            UTF-8, without `$share`.
    Raises:
        ValueError: it breaks a rule; names the level and the remedy.
    Source: MQTT 5.0, 4.7.
    """

    __slots__ = ("_levels", "_open_ended", "filter", "text")

    def __init__(self, text: str) -> None:
        levels = text.split("/")
        _check(text, levels)
        self.text = text
        self.filter = "/".join("+" if level in _ANY else level for level in levels)
        self._open_ended = levels[-1] == "#"
        self._levels = levels[:-1] if self._open_ended else levels

    def __repr__(self) -> str:
        return f"TopicFilter({self.text!r})"

    def match(self, topic: str) -> bool:
        """Tell whether a topic, any string as received, is matched; a wildcard in front stands for no `$` topic."""
        wanted = len(self._levels)
        parts = topic.split("/", wanted)  # bounded: at most one part more than the filter has
        if len(parts) < wanted or (len(parts) > wanted and not self._open_ended):
            return False
        if topic.startswith("$") and (not self._levels or self._levels[0] in _ANY):
            return False
        return all(level in _ANY or level == part for level, part in zip(self._levels, parts, strict=False))


def _check(text: str, levels: list[str]) -> None:
    """Refuse what is no filter."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"filter {text[:80]!r} is not valid UTF-8 text") from None
    if not 1 <= size <= MAX_TOPIC_BYTES or "\0" in text:
        raise ValueError(f"a topic filter has 1..{MAX_TOPIC_BYTES} bytes and no NUL; this one has {size}")
    if levels[0] == "$share":
        raise ValueError(f"filter {text[:200]!r} starts with $share; name the filter behind the group")
    for at, level in enumerate(levels):
        if level in _ANY or (level == "#" and at == len(levels) - 1):
            continue
        if any(char in level for char in "+#{}"):
            raise ValueError(
                f"level {level[:80]!r} of filter {text[:200]!r}: '+', '#' and {SLOT} must be whole levels, '#' the last"
            )
