"""The tenant's secret key, from which hosts derive the trace-ids of seqref messages."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

_KEY_BYTES = 32
_RANGE = range(16, 65)


class KeyFileError(ValueError):
    """The key file cannot be used; the message says why and what to do."""


def load_or_make(path: Path) -> bytes:
    """Read the key, or make one of 32 random bytes (mode 0600) where none is.

    Raises:
        KeyFileError: it cannot be made, or as `load`.
    """
    try:
        _create(path)
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}; choose a folder that this user can write to") from error
    return load(path)


def load(path: Path) -> bytes:
    """Read the key.

    Why a missing one is not made here: with a misspelt name each host would get a key of its own, and every trace would
    break in two without a word.

    Raises:
        KeyFileError: missing, not readable, others than the owner may read it, or its length is outside 16..64 bytes.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(_RANGE.stop)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"key file {path} does not exist; copy it from another host of this tenant, or leave --key-file out: "
            f"the one in the state folder is made at the first start"
        ) from error
    except OSError as error:
        raise KeyFileError(
            f"key file {path}: {error.strerror}; name one that this user can read with --key-file"
        ) from error
    if mode & 0o077:
        raise KeyFileError(
            f"key file {path} has mode {mode:04o}, others may read it; allowed is 0600: chmod 600 {path}"
        )
    if len(key) not in _RANGE:
        size = f"{len(key)} bytes" if len(key) < _RANGE.stop else f"more than {_RANGE.stop - 1} bytes"
        raise KeyFileError(
            f"key file {path} has {size}, allowed are {_RANGE.start}..{_RANGE.stop - 1}: "
            f"copy the key of another host of this tenant, or remove the file to have a new one made"
        )
    return key


def _create(path: Path) -> None:
    """Make the file whole or not at all: a second shim that starts at the same moment must read the same key."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
        os.fsync(descriptor)
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        os.close(descriptor)
        Path(fresh).unlink()
