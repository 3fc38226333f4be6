"""Where the device id stands in a topic: `devices/{device_id}/telemetry`.

The template is what goes into span attributes (`messaging.destination.template`), never the raw topic: it names few
values for many devices.
"""

from __future__ import annotations

from typing import Final

SLOT: Final = "{device_id}"
MAX_DEVICE_ID_BYTES: Final = 255
MAX_TOPIC_BYTES: Final = 65_535


class TopicTemplate:
    """A topic template with exactly one level `{device_id}`.

    Args:
        template: MQTT levels joined by '/'; one level is `{device_id}`, others are literals or `+`; the last may be
            `#`. At most 65,535 bytes in UTF-8.
    Raises:
        ValueError: the template breaks a rule; names the level and the remedy.
    Source: MQTT 5, section 4.7 (topic names and filters).
    """

    __slots__ = ("_levels", "_open_ended", "_slot", "filter", "template")

    def __init__(self, template: str) -> None:
        levels = template.split("/")
        _check(template, levels)
        self.template = template
        self.filter = "/".join("+" if level == SLOT else level for level in levels)
        self._slot = levels.index(SLOT)
        self._open_ended = levels[-1] == "#"
        # The literal that a topic must have at each level, None where anything goes.
        self._levels = [None if level in (SLOT, "+", "#") else level for level in levels]

    def __repr__(self) -> str:
        return f"TopicTemplate({self.template!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicTemplate) and other.template == self.template

    def __hash__(self) -> int:
        return hash(self.template)

    def match(self, topic: str) -> str | None:
        """Find the device id in a topic.

        Args:
            topic: A topic as received, any string.
        Returns:
            The device id, 1..255 bytes in UTF-8 and without NUL, or None when the topic does not fit the template.
        Source: MQTT 5, section 4.7.
        """
        levels = self._levels
        parts = topic.split("/", len(levels))  # bounded: at most one part more than the template has
        if not self._fits(topic, parts):
            return None
        for level, part in zip(levels, parts, strict=False):
            if level is not None and level != part:
                return None
        device_id = parts[self._slot]
        return device_id if is_device_id(device_id) else None

    def _fits(self, topic: str, parts: list[str]) -> bool:
        """Tell whether the number of levels is right, and no wildcard stands for a `$` topic."""
        wanted = len(self._levels)
        if self._open_ended:
            if len(parts) < wanted - 1:  # `a/#` matches `a` too
                return False
        elif len(parts) != wanted:
            return False
        return not topic.startswith("$") or self._levels[0] is not None

    def fill(self, device_id: str) -> str:
        """Write the topic of one device.

        Args:
            device_id: 1..255 bytes in UTF-8, without '/', '+', '#' and NUL.
        Returns:
            The topic.
        Raises:
            ValueError: the device id breaks the rule, or the template holds wildcards and so names no single topic.
        Source: MQTT 5, section 4.7.
        """
        if not is_device_id(device_id) or any(char in device_id for char in "/+#"):
            raise ValueError(
                f"device_id {device_id[:80]!r} must be 1..{MAX_DEVICE_ID_BYTES} bytes in UTF-8 "
                "without '/', '+', '#' and NUL"
            )
        levels = self.template.split("/")
        if "+" in levels or "#" in levels:
            raise ValueError(f"template {self.template!r} holds wildcards; a topic to publish to needs literal levels")
        levels[self._slot] = device_id
        return "/".join(levels)


def _check(template: str, levels: list[str]) -> None:
    """Refuse a template that breaks a rule."""
    try:
        length = len(template.encode())
    except UnicodeEncodeError:
        raise ValueError(f"template {template[:80]!r} is not valid UTF-8 text") from None
    if length > MAX_TOPIC_BYTES or "\0" in template:
        raise ValueError(f"template has {length} bytes; at most {MAX_TOPIC_BYTES} and no NUL")
    if levels[0] == "$share":
        raise ValueError(
            f"template {template[:200]!r} starts with $share; name the topic here and the group separately"
        )
    if levels.count(SLOT) != 1:
        raise ValueError(
            f"template {template[:200]!r} must hold the level {SLOT} exactly once, as in 'devices/{SLOT}/telemetry'"
        )
    for at, level in enumerate(levels):
        if level == SLOT or level == "+" or (level == "#" and at == len(levels) - 1):
            continue
        if any(char in level for char in "+#{}"):
            raise ValueError(
                f"level {level[:80]!r} of template {template[:200]!r}: "
                f"'+', '#' and {SLOT} must be whole levels, '#' the last"
            )


def is_device_id(text: str) -> bool:
    """Tell whether a text can be a device's id: 1..255 bytes in UTF-8, without NUL."""
    try:
        return 1 <= len(text.encode()) <= MAX_DEVICE_ID_BYTES and "\0" not in text
    except UnicodeEncodeError:  # lone surrogates: not text that MQTT can carry
        return False
