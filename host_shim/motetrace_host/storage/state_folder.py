"""The folder where one shim keeps what must survive: database, key, client id. One shim per folder."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from motetrace_host.core.errors import OperatorError


def take(folder: Path) -> IO[str]:
    """Make the folder (mode 0700) and lock it until the returned file is closed or the process ends.

    Raises:
        OperatorError: not writable, or another shim runs on it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise OperatorError(f"state folder {folder}: {error.strerror}; name another with --state") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read(20).strip() or "unknown"
        lock.close()
        raise OperatorError(
            f"state folder {folder} is in use by another motetrace (process {owner}); "
            f"stop that one, or give this one its own folder with --state"
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def client_id(folder: Path) -> str:
    """The MQTT client id of the shim on this folder, drawn once: the broker keeps the session under it."""
    path = folder / "client-id"
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        known = ""
    if not known:
        known = f"motetrace-{secrets.token_hex(6)}"
        path.write_text(known + "\n", encoding="ascii")
    return known
