"""The headers that a trace backend wants with every request. Authorization is a secret: so in a file of its own."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_MAX_BYTES = 65_536
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]+")
_OURS = frozenset(("content-type", "content-encoding", "content-length", "transfer-encoding", "host", "connection"))


class HeadersFileError(ValueError):
    """The headers file cannot be used; the message says why and what to do, and holds nothing of its content."""


def load(path: Path) -> dict[str, str]:
    """Read lines of `Name: value`; empty lines and those that begin with # are passed over.

    Raises:
        HeadersFileError: not readable, others than the owner may read it, or a line is no header that may be sent.
    Source: RFC 9110, 5.1 and 5.5 (names are tokens; of values only what is visible ASCII is taken).
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise HeadersFileError(
            f"headers file {path}: {error.strerror}; name one that this user can read with --otlp-headers-file"
        ) from error
    if mode & 0o077:
        raise HeadersFileError(
            f"headers file {path} has mode {mode:04o}, others may read it; allowed is 0600: chmod 600 {path}"
        )
    if len(content) > _MAX_BYTES:
        raise HeadersFileError(f"headers file {path} has more than {_MAX_BYTES} bytes; write one Name: value a line")
    headers = _parse(content.decode("latin-1"), path)
    if not headers:
        raise HeadersFileError(f"headers file {path} holds no header; write one such as Authorization: Bearer ...")
    return headers


def _parse(text: str, path: Path) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        value = value.strip()
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HeadersFileError(
                f"headers file {path}, line {number}: write Name: value in visible ASCII, without a space before the "
                "colon, such as Authorization: Bearer ..."
            )
        if name.lower() in _OURS:
            raise HeadersFileError(f"headers file {path}, line {number}: {name} is set by motetrace; leave it out")
        if name.lower() in (known.lower() for known in headers):
            raise HeadersFileError(f"headers file {path}, line {number}: {name} is there twice; leave one")
        headers[name] = value
    return headers
