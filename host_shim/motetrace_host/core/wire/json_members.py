"""Trace context as members of a JSON-object payload, and the payload without them.

    {"traceparent":"00-0af7...-03","temp":21.5}

Members are ours only in the outermost object. Any key order is read (a decoder does it: slicing JSON by hand
breaks on the first escaped quote); only members that lead the object are cut out again, because that is where our
devices put them, and cutting there leaves every other byte as it was.

Why repeated members are a fault although JSON decoders keep the last one: which one counts would depend on the
decoder, so two hops could follow two traces. W3C asks for the same with a repeated header: restart the trace.
"""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from motetrace_host.core.errors import WireError
from motetrace_host.core.ledger.runs import MAX_SEQ

MAX_PARSED_BYTES: Final = 256 * 1024
MAX_LEADING_BYTES: Final = 16 * 1024
_WHITE: Final = b" \t\r\n"
_NULL: Final = b"null"
_ABSENT: Final = msgspec.Raw()

# One or more of our members with string values, directly behind the brace; the last one's comma goes too.
# White space behind that comma is the application's. No possessive quantifiers: in a group those of
# CPython 3.11.2 take a byte too many. Each branch begins with another byte, so it is linear all the same.
_LEADING: Final = re.compile(
    rb"[ \t\r\n]*\{"
    rb"((?:[ \t\r\n]*\"(?:traceparent|seqref|tracestate|baggage)\"[ \t\r\n]*:[ \t\r\n]*"
    rb"\"[^\"\\]*(?:\\.[^\"\\]*)*\"(?:[ \t\r\n]*,|(?=[ \t\r\n]*\})))+)"
)


class Members(msgspec.Struct, gc=False):
    """Our members of one payload as raw JSON values, so that a wrong type in one does not lose the others.

    Args:
        traceparent: Raw JSON value, empty when absent; the last one when repeated. The same holds for
            `seqref`, `tracestate`, `baggage` and `seq`.
    Source: docs/wire-format.md, "Carriers".
    """

    traceparent: msgspec.Raw = _ABSENT
    seqref: msgspec.Raw = _ABSENT
    tracestate: msgspec.Raw = _ABSENT
    baggage: msgspec.Raw = _ABSENT
    seq: msgspec.Raw = _ABSENT


_MEMBERS: Final = msgspec.json.Decoder(Members)
_STRING: Final = msgspec.json.Decoder(str)


def members(payload: bytes) -> Members | None:
    """Find our members in a payload.

    Args:
        payload: As received, any bytes; up to 256 KiB are parsed.
    Returns:
        The raw members, or None when the payload does not begin like a JSON object.
    Raises:
        WireError: `payload_too_large`, `json_malformed` (begins with a brace and is not JSON),
            `json_too_deep` (nested about 1000 levels).
    Source: docs/wire-format.md, "Carriers".
    """
    if payload[:1] != b"{" and not _object_follows(payload):
        return None
    if len(payload) > MAX_PARSED_BYTES:
        raise WireError("payload_too_large", f"payload has {len(payload)} bytes; up to {MAX_PARSED_BYTES} are parsed")
    try:
        return _MEMBERS.decode(payload)
    except (RecursionError, ValueError) as exc:  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        raise _broken(exc) from exc


def _broken(exc: Exception) -> WireError:
    if isinstance(exc, RecursionError):
        return WireError("json_too_deep", "payload is nested too deep to be parsed; keep it below 100 levels")
    return WireError("json_malformed", f"payload begins like a JSON object and is not one: {exc}")


def leading(payload: bytes) -> Members | None:
    """Find our members at the front of a payload that begins like a JSON object and is not one.

    A reading whose firmware writes `nan` or loses the last brace is the very one that will be looked for, and our
    devices put their members in front of whatever the application wrote.

    Args:
        payload: As received, any bytes, for which `members` raised.
    Returns:
        The raw members, None when none of ours leads.
    """
    match = _LEADING.match(payload[:MAX_LEADING_BYTES])
    if match is None:
        return None
    try:
        return _MEMBERS.decode(b"{" + match[1].rstrip(_WHITE + b",") + b"}")
    except ValueError:
        return None


def _object_follows(payload: bytes) -> bool:
    """Whether a brace follows leading white space."""
    return payload[:1] in (b" ", b"\t", b"\r", b"\n") and payload.lstrip(_WHITE)[:1] == b"{"


def member_text(payload: bytes, found: Members, name: str) -> str | None:
    """Decode one of our string members.

    Args:
        payload: The payload that `found` was read from.
        found: What `members` returned.
        name: `traceparent`, `seqref`, `tracestate` or `baggage`.
    Returns:
        The text, or None when the member is absent or null.
    Raises:
        WireError: `<name>_type` (not a string, or not UTF-8), `<name>_repeated` (twice in the outermost object),
            `json_too_deep`, `json_malformed` (it cannot be found out whether it is repeated).
    Source: docs/wire-format.md, "Carriers".
    """
    raw = getattr(found, name)
    if raw is _ABSENT:
        return None
    _refuse_repeated(payload, name)
    try:
        return _STRING.decode(raw)
    except ValueError as exc:
        if bytes(raw) == _NULL:
            return None
        raise WireError(f"{name}_type", f"member {name!r} is {bytes(raw)[:40]!r}; it must be a JSON string") from exc


def member_seq(payload: bytes, found: Members) -> int | None:
    """Decode a bare message number, 0..2**32-1; None when it is absent or null. Arguments as for `member_text`.

    Raises:
        WireError: `seq_type` (not an integer in plain digits: 17.0, 1e3, true and "17" are none), `seq_range`,
            `seq_repeated`, `json_too_deep`, `json_malformed`.
    Source: docs/wire-format.md, "a bare number".
    """
    if found.seq is _ABSENT:
        return None
    _refuse_repeated(payload, "seq")
    raw = bytes(found.seq)
    if raw == _NULL:
        return None
    if not raw.removeprefix(b"-").isdigit():
        raise WireError("seq_type", f"member 'seq' is {raw[:40]!r}; it must be an integer of 0..{MAX_SEQ}, in digits")
    if raw[:1] == b"-" or len(raw) > 10 or int(raw) > MAX_SEQ:
        raise WireError("seq_range", f"member 'seq' is {raw[:40]!r}; it must be 0..{MAX_SEQ} and wrap to 0 or 1")
    return int(raw)


def _refuse_repeated(payload: bytes, name: str) -> None:
    """Raise when the outermost object names a member twice; called only for a member that is there."""
    # One plain spelling and no escapes: it is the one that was decoded, and there is no other.
    if payload.count(b'"%b"' % name.encode()) == 1 and b"\\u" not in payload:
        return
    outermost: list[tuple[str, object]] = []

    def remember(pairs: list[tuple[str, object]]) -> None:
        outermost[:] = pairs  # called for inner objects first, for the outermost last

    try:
        # surrogateescape as `members` lets broken UTF-8 through in what is not ours; str for numbers of any length
        json.loads(
            payload.decode("utf-8", "surrogateescape"), object_pairs_hook=remember, parse_int=str, parse_float=str
        )
    except (RecursionError, ValueError) as exc:  # the two decoders differ on what JSON is
        raise _broken(exc) from exc
    if sum(key == name for key, _ in outermost) > 1:
        raise WireError(f"{name}_repeated", f"payload names {name!r} twice; send one")


def strip(payload: bytes) -> bytes:
    """Cut our members from the front of a JSON object; every other byte stays as it was.

    `seq` stays: it is the application's. So does a member of ours that does not lead, or is no string.

    Args:
        payload: As received, any bytes.
    Returns:
        What the application had before our device put the members in; the payload itself when there is
        nothing to cut, it is no JSON object, or it is over 256 KiB.
    Source: docs/wire-format.md, "Without our fields".
    """
    match = _LEADING.match(payload)
    if match is None:
        return payload
    try:
        if members(payload) is None:
            return payload
    except WireError:
        return payload
    start, end = match.span(1)
    return payload[:start] + payload[end:]
