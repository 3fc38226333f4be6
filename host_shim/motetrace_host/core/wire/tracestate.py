"""W3C `tracestate`: the list of other tracers' members, and motetrace's own, `mt`.

`mt=a:1f4`: the reading was 0x1f4 ms old when it was published. Fields in its value are `k:v`,
joined by `;`; unknown fields are left alone. All other members are passed on untouched.
"""

from __future__ import annotations

import re
from typing import Final

from motetrace_host.core.errors import WireError

OWN_KEY: Final = "mt"
WILL_FIELD: Final = "w:1"  # in our member: prepared long before it is published, since MQTT itself does not mark a will
MAX_MEMBERS: Final = 32
MAX_PROPAGATED_CHARS: Final = 512
MAX_INPUT_CHARS: Final = 16_479  # 32 members of key 256, '=', value 256, and 31 commas
LONG_MEMBER_CHARS: Final = 128
# Level 2 grammar. The value may hold spaces but not end in one; the end is trimmed with the white space around members.
_MEMBER: Final = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_AGE: Final = re.compile(r"[0-9a-f]{1,8}")

Members = tuple[tuple[str, str], ...]


def parse(text: str) -> Members:
    """Read a tracestate list.

    Args:
        text: The value as received; several carriers' values are joined by ',' first. At most 16,479 characters.
    Returns:
        (key, value) pairs in the order received; empty members are left out.
    Raises:
        WireError: `tracestate_length`, `tracestate_members` (more than 32),
            `tracestate_format` (a key, a value or '='), `tracestate_repeated` (a key twice).
    Source: W3C Trace Context Level 2, section 3.3; tests/vectors/tracestate.json.
    """
    if len(text) > MAX_INPUT_CHARS:
        raise WireError("tracestate_length", f"tracestate has {len(text)} characters; at most {MAX_INPUT_CHARS}")
    found: dict[str, str] = {}
    for part in text.split(","):
        member = part.strip(" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None:
            raise WireError("tracestate_format", f"tracestate member {member[:80]!r} is not key=value by W3C's grammar")
        key, value = match.groups()
        if key in found:
            raise WireError("tracestate_repeated", f"tracestate names {key[:80]!r} twice; one member per key")
        found[key] = value
        if len(found) > MAX_MEMBERS:
            raise WireError("tracestate_members", f"tracestate has more than {MAX_MEMBERS} members")
    return tuple(found.items())


def format(members: Members) -> str:
    """Write members as a tracestate value, `key=value` joined by ','; left is newest, "" for none."""
    return ",".join(f"{key}={value}" for key, value in members)


def limit(members: Members, max_chars: int = MAX_PROPAGATED_CHARS) -> Members:
    """Cut whole members until the text fits: those over 128 characters first, then from the right.

    Args:
        members: As `parse` returns them.
        max_chars: Length that `format` of the result may have; the standard asks for 512 or more.
    Returns:
        The members that stay, in their order.
    Source: W3C Trace Context Level 2, section 3.3.1.5; tests/vectors/tracestate.json.
    """
    kept = list(members)
    excess = sum(_chars(member) + 1 for member in kept) - 1 - max_chars
    for over in (LONG_MEMBER_CHARS, 0):
        at = len(kept) - 1
        while at >= 0 and excess > 0:
            if _chars(kept[at]) > over:
                excess -= _chars(kept[at]) + 1
                del kept[at]
            at -= 1
    return tuple(kept)


def _chars(member: tuple[str, str]) -> int:
    return len(member[0]) + 1 + len(member[1])


def age_ms(members: Members) -> int | None:
    """Read how old the reading was at its publish, 0..2**32-1 ms, from our own member `mt=a:<hex ms>`; None without it.

    Raises:
        WireError: `age_format`: `a` is there and is not 1 to 8 lower-case hex digits.
    Source: docs/wire-format.md, "age"; tests/vectors/tracestate.json.
    """
    for key, value in members:
        if key == OWN_KEY:
            return _age_field(value)
    return None


def _age_field(value: str) -> int | None:
    for field in value.split(";"):
        name, colon, digits = field.partition(":")
        if colon and name == "a":
            if _AGE.fullmatch(digits) is None:
                raise WireError(
                    "age_format", f"age {digits[:40]!r} in tracestate's mt is not 1 to 8 lower-case hex digits"
                )
            return int(digits, 16)
    return None
