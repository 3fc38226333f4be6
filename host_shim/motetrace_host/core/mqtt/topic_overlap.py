"""Whether two topic filters can match the same topic."""

from __future__ import annotations


def overlap(one: str, other: str) -> bool:
    """Tell whether there is a topic that both filters match.

    Args:
        one, other: MQTT topic filters without $share.
    Source: MQTT 5.0, 4.7.
    """
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
