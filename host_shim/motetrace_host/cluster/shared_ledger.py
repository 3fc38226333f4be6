"""The ledger that several shims share, as the settings name it: for the shim, and for reports on its state folder."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from motetrace_host.core.store_error import StoreError
from motetrace_host.storage import database, password_file, pending_batches

if TYPE_CHECKING:
    from motetrace_host.cluster.redis_ledger import RedisSeen

_PLAIN_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FINGERPRINT_PERSON = b"motetrace.finger"


class Log(Protocol):
    """What is needed of a structured logger."""

    def warning(self, event: str, **fields: Any) -> Any: ...


class LedgerAddress(NamedTuple):
    """LedgerAddress a shared ledger is and how to be let in.

    Attributes:
        url: redis:// or rediss://, without credentials. username: "" for Redis's default user.
        password_file: its first line is the password; None for none.
    """

    url: str
    tenant: str
    username: str = ""
    password_file: Path | None = None

    def noted(self) -> dict[str, str]:
        """For `Running`: what a report needs to find the ledger again."""
        return {
            "ledger": self.url,
            "ledger_tenant": self.tenant,
            "ledger_username": self.username,
            "ledger_password_file": str(self.password_file.absolute()) if self.password_file else "",
        }

    @classmethod
    def of_notes(cls, notes: Mapping[str, str]) -> LedgerAddress | None:
        """What `noted` gave; None when the shim has its ledger for itself."""
        if not notes.get("ledger"):
            return None
        file = notes.get("ledger_password_file", "")
        return cls(
            notes["ledger"],
            notes.get("ledger_tenant", ""),
            notes.get("ledger_username", ""),
            Path(file) if file else None,
        )


def connected(where: LedgerAddress, shim_id: str) -> RedisSeen:
    """The ledger under a shim's name; nothing is sent yet.

    Raises:
        StoreError: the package `redis` is missing. PasswordFileError: the file cannot be used.
    """
    try:
        from motetrace_host.cluster import redis_ledger
    except ModuleNotFoundError as error:
        raise StoreError(
            f"--ledger {where.url} needs the Python package {error.name}: pip install 'motetrace[redis]'", retry=False
        ) from error
    password = password_file.first_line(where.password_file, "--ledger-password-file")
    client = redis_ledger.connect(where.url, username=where.username, password=password)
    return redis_ledger.RedisSeen(client, tenant=_tenant_name(where.tenant), shim_id=shim_id)


def of_shim(
    where: LedgerAddress | None, connection: sqlite3.Connection, fingerprint: bytes, log: Log
) -> RedisSeen | None:
    """The shared ledger of the shim on this database, told to the log if it is in danger or out of reach.

    Raises:
        StoreError, PasswordFileError: an operator has to act first.
    """
    if where is None:
        with database.translated():
            waits = pending_batches.load(connection)
        if waits:
            raise StoreError(
                "a batch in this state folder waits for the shared ledger: start with --ledger redis://... once more "
                "(with any, should the former one be gone for good), and with sqlite afterwards",
                retry=False,
            )
        return None
    try:
        ledger = _joined(where, connection, fingerprint)
        for caution in ledger.cautions():
            log.warning("ledger_in_danger", ledger=where.url, caution=caution)
    except StoreError as error:
        if not error.retry:
            raise
        remedy = "is Redis up there? check --ledger; nothing is acknowledged to the broker until it answers"
        log.warning("ledger_waits", ledger=where.url, error=str(error), remedy=remedy)
        return connected(where, _shim_id(connection))
    return ledger


def _joined(where: LedgerAddress, connection: sqlite3.Connection, fingerprint: bytes) -> RedisSeen:
    """The ledger, asked whether it and the database belong together.

    A database that knows fewer batches of its name than the ledger came from a backup, or is a copy of another shim's:
    it takes a new name then, under which it may count from where it stands.
    """
    ledger = connected(where, _shim_id(connection))
    known_there = ledger.enter(fingerprint)
    with database.translated():
        known_here = pending_batches.last_id(connection)
    if known_there > known_here:
        with database.transaction(connection):
            name = pending_batches.renew_shim_id(connection)
        return connected(where, name)
    return ledger


def fingerprint(key: bytes, tenant: str) -> bytes:
    """What shims compare to find out that they have one key: 16 bytes, which tell nothing of it."""
    return blake2b(tenant.encode(), digest_size=16, key=key, person=_FINGERPRINT_PERSON).digest()


def _shim_id(connection: sqlite3.Connection) -> str:
    with database.transaction(connection):
        return pending_batches.shim_id(connection)


def _tenant_name(tenant: str) -> str:
    """The tenant as Redis's keys carry it: as it is where that can be, else a digest, which no plain name equals."""
    if _PLAIN_TENANT.fullmatch(tenant):
        return tenant
    return "-" + blake2b(tenant.encode(), digest_size=16).hexdigest() if tenant else "-"
