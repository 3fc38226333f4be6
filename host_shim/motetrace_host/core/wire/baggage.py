"""W3C `baggage`: what applications attach to a trace, as text on the wire and as names and values.

    site=K%C3%BChlhaus%203;unit=1,line=7

A member is kept as the text it came in as, its properties behind `;` included, beside its name and its decoded value.
So what was not changed is passed on byte for byte. OpenTelemetry's own codec turns `+` into a space and makes the
properties part of the value.

Why a member that breaks the grammar is left out and its neighbours stay: the standard allows removing the entry, and
one sloppy writer along the way must not cost the others' baggage.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

MIN_MAX_BYTES: Final = 1
DEFAULT_MAX_BYTES: Final = 8192  # the standard's least; a user property may have 65,535
HIGHEST_MAX_BYTES: Final = 65_535
MAX_MEMBERS: Final = 180  # the grammar's `0*179`; 64 is the least to be passed on
MAX_INPUT_CHARS: Final = 65_535
_KEY: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
# What each byte of a value is written as: itself where it is a baggage-octet other than `%`.
_WRITTEN: Final = [chr(byte) if _VALUE.fullmatch(chr(byte)) and byte != 0x25 else f"%{byte:02X}" for byte in range(256)]
_WHITE: Final = " \t"


class Member(NamedTuple):
    """One member.

    Args:
        key: a token.
        value: percent-decoded; bytes that are no UTF-8 are U+FFFD in it.
        text: as it stands on the wire, properties included, without white space around it.
    Source: W3C Baggage, 3.2.
    """

    key: str
    value: str
    text: str


Members = tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class BaggageLimits:
    """What may pass.

    Args:
        allow: names of members; None lets all pass, which fits where every hop is one operator's.
        max_bytes: longest text, 1..65,535. Below 8192 it is less than W3C asks for.
    Raises:
        ValueError: max_bytes is out of range, or a name is no token; names it.
    """

    allow: frozenset[str] | None = None
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        if not MIN_MAX_BYTES <= self.max_bytes <= HIGHEST_MAX_BYTES:
            raise ValueError(f"baggage of {self.max_bytes} bytes: the cap must be {MIN_MAX_BYTES}..{HIGHEST_MAX_BYTES}")
        for key in self.allow or ():
            if _KEY.fullmatch(key) is None:
                raise ValueError(f"baggage name {key[:80]!r} is no token of letters, digits and !#$%&'*+-.^_`|~")


def parse(text: str) -> Members:
    """Read a baggage text. Nothing is raised; linear in its length.

    Args:
        text: as received; several carriers' values are joined by `,` first. What begins behind 65,535 characters or
            180 members is left out, whole members at a time.
    Returns:
        The members that follow the grammar, in their order, repeated names included.
    Source: W3C Baggage, 3.2; tests/vectors/baggage.json.
    """
    if not text:
        return ()
    if len(text) > MAX_INPUT_CHARS:
        text = text[: text.rfind(",", 0, MAX_INPUT_CHARS + 1) + 1]
    found: list[Member] = []
    for part in text.split(","):
        member = _member(part.strip(_WHITE))
        if member is not None:
            found.append(member)
            if len(found) == MAX_MEMBERS:
                break
    return tuple(found)


def _member(text: str) -> Member | None:
    name, *properties = text.split(";")
    key, equals, value = name.partition("=")
    key, value = key.rstrip(_WHITE), value.strip(_WHITE)
    if not equals or _KEY.fullmatch(key) is None or _VALUE.fullmatch(value) is None:
        return None
    if not all(_is_property(each) for each in properties):
        return None
    return Member(key, _decoded(value), text)


def _decoded(value: str) -> str:
    if "%" not in value:
        return value
    return _ESCAPE.sub(lambda match: unhexlify(match[1]), value.encode()).decode("utf-8", "replace")


def _is_property(text: str) -> bool:
    key, _, value = text.partition("=")
    return _KEY.fullmatch(key.strip(_WHITE)) is not None and _VALUE.fullmatch(value.strip(_WHITE)) is not None


def member(key: str, value: object) -> Member:
    """Make a member.

    Args:
        key: a token.  value: any text or what `str` makes one of; lone surrogates are sent as `?`.
    Raises:
        ValueError: key is no token.
    Source: W3C Baggage, 3.2.
    """
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"baggage name {key[:80]!r} is no token of letters, digits and !#$%&'*+-.^_`|~")
    plain = str(value)
    octets = plain.encode("utf-8", "replace")
    return Member(key, plain, f"{key}={''.join(map(_WRITTEN.__getitem__, octets))}")


def values(members: Members) -> dict[str, str]:
    """Return value by name; of a repeated name the last one counts."""
    return {each.key: each.value for each in members}


def update(members: Members, current: Mapping[str, object]) -> Members:
    """Bring members up to date with what an application made of their values.

    Args:
        members: as received.
        current: value by name now. What is unchanged keeps its text, its properties and its place; what is not there
            any more goes; what is new comes last. A name that is no token is left out.
    Returns:
        Each name once, unless nothing changed at all.
    Source: W3C Baggage, 3.3 (mutations).
    """
    before = values(members)
    if before == current:
        return members
    last = {each.key: each for each in members}
    stay = [(each, current[key]) for key, each in last.items() if key in current]
    kept = [each if each.value == value else member(each.key, value) for each, value in stay]
    new = [member(key, value) for key, value in current.items() if key not in last and _KEY.fullmatch(key)]
    return tuple(kept + new)


def limit(members: Members, policy: BaggageLimits) -> Members:
    """Leave out what may not pass: other names, then whole members that no longer fit; nothing is cut in two.

    A member too long is passed over and the shorter ones behind it stay, so that one cannot push all others out.

    Source: W3C Baggage, 3.2 (limits), 3.3.
    """
    kept: list[Member] = []
    room = policy.max_bytes + 1  # the first member has no comma in front
    for each in members:
        if policy.allow is not None and each.key not in policy.allow:
            continue
        if len(each.text) < room and len(kept) < MAX_MEMBERS:
            kept.append(each)
            room -= len(each.text) + 1
    return tuple(kept)


def format(members: Iterable[Member]) -> str:
    """Write members as a baggage text; "" for none."""
    return ",".join(each.text for each in members)


def passed_on(text: str, policy: BaggageLimits) -> str:
    """Return the text of what may pass of a received one; the same text where that is all of it.

    Args:
        text: as received.
    Returns:
        At most `policy.max_bytes` characters, all ASCII and printable but for tabs inside a member.
    """
    if not text:
        return ""  # of most messages
    parsed = parse(text)
    kept = limit(parsed, policy)
    whole = len(kept) == len(parsed) == text.count(",") + 1 and len(text) <= policy.max_bytes
    return text if whole else format(kept)
