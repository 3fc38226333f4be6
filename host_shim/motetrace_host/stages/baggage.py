"""The W3C baggage text, read and written.

OpenTelemetry's own codec turns `+` into a space and folds a member's properties into its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

MAX_BYTES = 8192
MAX_MEMBERS = 180

_KEY = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LITERAL = "!#$&'()*+-./:<=>?@[]^_`{|}~"  # baggage-octet without "%": all else is percent-encoded


def parse(text: str) -> dict[str, str]:
    """Return the members of a baggage text by name, values percent-decoded, the properties after `;` left out.

    Members that are not `name=value` are skipped; of a repeated name the last one counts; a text of more than
    8192 bytes or 180 members is cut there. Nothing is raised.
    Source: W3C Baggage, 3.3.
    """
    members: dict[str, str] = {}
    for member in text[:MAX_BYTES].split(",", MAX_MEMBERS)[:MAX_MEMBERS]:
        name, equals, value = member.partition(";")[0].partition("=")
        name = name.strip(" \t")
        if equals and _KEY.fullmatch(name):
            members[name] = unquote(value.strip(" \t"), errors="replace")
    return members


def format(members: Mapping[str, object]) -> str:
    """Return the text for these members; what is not a valid name, or no longer fits in 8192 bytes, is left out."""
    texts: list[str] = []
    length = 0
    for name, value in members.items():
        if not _KEY.fullmatch(name) or len(texts) == MAX_MEMBERS:
            continue
        member = f"{name}={quote(str(value), safe=_LITERAL, errors='replace')}"
        if length + len(member) + 1 > MAX_BYTES:
            continue
        texts.append(member)
        length += len(member) + 1
    return ",".join(texts)
