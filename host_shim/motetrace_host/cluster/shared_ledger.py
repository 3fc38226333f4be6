"""The ledger that several shims share, as the settings name it: for the shim, and for reports on its state folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from motetrace_host.core.errors import StoreError
from motetrace_host.storage import secret_files

if TYPE_CHECKING:
    from motetrace_host.cluster.redis_ledger import RedisSeen

_PLAIN_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FINGERPRINT_PERSON = b"motetrace.finger"


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
        """For `RunSettings`: what a report needs to find the ledger again."""
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
        StoreError: the package `redis` is missing. OperatorError: the file cannot be used.
    """
    try:
        from motetrace_host.cluster import redis_ledger
    except ModuleNotFoundError as error:
        raise StoreError(
            f"--ledger {where.url} needs the Python package {error.name}: pip install 'motetrace[redis]'", retry=False
        ) from error
    password = secret_files.load_password(where.password_file, "--ledger-password-file")
    client = redis_ledger.connect(where.url, username=where.username, password=password)
    return redis_ledger.RedisSeen(client, tenant=_tenant_name(where.tenant), shim_id=shim_id)


def fingerprint(key: bytes, tenant: str) -> bytes:
    """What shims compare to find out that they have one key: 16 bytes, which do not give it away."""
    return blake2b(tenant.encode(), digest_size=16, key=key, person=_FINGERPRINT_PERSON).digest()


def _tenant_name(tenant: str) -> str:
    """The tenant as Redis's keys carry it: as it is where that can be, else a digest, which no plain name equals."""
    if _PLAIN_TENANT.fullmatch(tenant):
        return tenant
    return "-" + blake2b(tenant.encode(), digest_size=16).hexdigest() if tenant else "-"
