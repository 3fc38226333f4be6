"""The files that hold secrets: the tenant's key, the headers of a trace backend, a password."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from motetrace_host.core.errors import OperatorError

_NEW_KEY_BYTES = 32
_KEY_BYTES = range(16, 65)
_MAX_HEADERS_BYTES = 65_536
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]+")
_OURS = frozenset(("content-type", "content-encoding", "content-length", "transfer-encoding", "host", "connection"))


def load_or_make_key(path: Path) -> bytes:
    """Read the tenant's key, or make one of 32 random bytes (mode 0600) where none is.

    Raises:
        OperatorError: it cannot be made, or as `load_key`.
    """
    try:
        _make_key(path)
    except OSError as error:
        raise OperatorError(
            f"key file {path}: {error.strerror}; choose a folder that this user can write to"
        ) from error
    return load_key(path)


def load_key(path: Path) -> bytes:
    """Read the tenant's key, from which hosts derive the trace-ids of seqref messages.

    Why a missing one is not made here: with a misspelt name each host would get a key of its own, and every trace would
    break in two without a word.

    Raises:
        OperatorError: missing, not readable, others than the owner may read it, or its length is outside 16..64 bytes.
    """
    missing = (
        "copy it from another host of this tenant, or leave --key-file out: the one in the state folder is made at the "
        "first start"
    )
    longest = _KEY_BYTES.stop - 1
    key = _read(path, "key file", "--key-file", longest + 1, missing)
    if len(key) not in _KEY_BYTES:
        size = f"{len(key)} bytes" if len(key) <= longest else f"more than {longest} bytes"
        raise OperatorError(
            f"key file {path} has {size}, allowed are {_KEY_BYTES.start}..{longest}: "
            f"copy the key of another host of this tenant, or remove the file to have a new one made"
        )
    return key


def load_headers(path: Path) -> dict[str, str]:
    """Read the headers that a trace backend wants with every request: lines of `Name: value`.

    Empty lines and those that begin with # are passed over.

    Raises:
        OperatorError: not readable, others than the owner may read it, or a line is no header that may be sent; the
            message holds nothing of the content.
    Source: RFC 9110, 5.1 and 5.5 (names are tokens; of values only what is visible ASCII is taken).
    """
    content = _read(path, "headers file", "--otlp-headers-file", _MAX_HEADERS_BYTES + 1)
    if len(content) > _MAX_HEADERS_BYTES:
        raise OperatorError(
            f"headers file {path} has more than {_MAX_HEADERS_BYTES} bytes; write one Name: value a line"
        )
    headers: dict[str, str] = {}
    for number, line in enumerate(content.decode("latin-1").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"headers file {path}, line {number}"
        name, colon, value = line.partition(":")
        value = value.strip()
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise OperatorError(
                f"{where}: write Name: value in visible ASCII, without a space before the colon, such as "
                "Authorization: Bearer ..."
            )
        if name.lower() in _OURS:
            raise OperatorError(f"{where}: {name} is set by motetrace; leave it out")
        if name.lower() in (known.lower() for known in headers):
            raise OperatorError(f"{where}: {name} is there twice; leave one")
        headers[name] = value
    if not headers:
        raise OperatorError(f"headers file {path} holds no header; write one such as Authorization: Bearer ...")
    return headers


def load_password(path: Path | None, flag: str) -> str:
    """Read a password, the first line of its file; "" when no file is named.

    Why its mode is free: such files are often mounted by an orchestrator, readable for the group of the process.

    Args:
        flag: the setting that named the file.
    Raises:
        OperatorError: it cannot be read, or is no text.
    """
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{flag} {path}: {error}; name a text file whose first line is the password") from error


def _read(path: Path, kind: str, flag: str, max_bytes: int, missing: str = "") -> bytes:
    """Read the beginning of a file that its owner alone may read; `missing` is the remedy when there is none."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(max_bytes)
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError):
            raise OperatorError(f"{kind} {path} does not exist; {missing}") from error
        raise OperatorError(f"{kind} {path}: {error.strerror}; name one that this user can read with {flag}") from error
    if mode & 0o077:
        raise OperatorError(f"{kind} {path} has mode {mode:04o}, others may read it; allowed is 0600: chmod 600 {path}")
    return content


def _make_key(path: Path) -> None:
    """Make the file whole or not at all: a second shim that starts at the same moment must read the same key."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        os.write(descriptor, secrets.token_bytes(_NEW_KEY_BYTES))
        os.fsync(descriptor)
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        Path(fresh).unlink()
