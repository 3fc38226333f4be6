"""Lengths of time as people type them."""

from __future__ import annotations

import re
from typing import Final

_UNIT_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART: Final = re.compile(r"([0-9]{1,9})([smhd]?)")


def parse(text: str, highest_s: int) -> int:
    """Read `90s`, `10m`, `1h30m`, `2d`, or plain seconds.

    Returns:
        0..highest_s seconds.
    Raises:
        ValueError: it is none of these, or too long.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text[:40]!r} is no length of time; write 90s, 10m, 1h30m or 2d")
    seconds = sum(int(number) * _UNIT_S[unit] for number, unit in parts)
    if seconds > highest_s:
        raise ValueError(f"{text[:40]!r} is too long; at most {format(highest_s)}")
    return seconds


def format(seconds: int) -> str:
    """Write seconds, 0 or more, in the two largest units they have: `1h30m`, `9m50s`, `0s`."""
    shown = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNIT_S[unit])
        if count:
            shown.append(f"{count}{unit}")
    return "".join(shown[:2]) or "0s"
