"""The stores of ledger states under test, each with the surroundings it needs, behind the interface both promise."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path

from services import Valkey

from motetrace_host.cluster import redis_ledger
from motetrace_host.cluster.redis_ledger import RedisSeen
from motetrace_host.core.ledger.runs import Runs
from motetrace_host.core.ledger.store import SeenRow, SeenRuns
from motetrace_host.storage import sqlite_ledger
from motetrace_host.storage.database import create_tables, transaction

WINDOW_MS = 1_000


class SqliteLedger:
    """The store on a file, each call in a transaction as the shim makes it."""

    def __init__(self, path: Path, **options: int) -> None:
        self.path = path
        self._options = {"reorder_window_ms": WINDOW_MS, **options}
        self._batch = 0
        self.reopen()

    def reopen(self) -> None:
        with contextlib.suppress(AttributeError):
            self.connection.close()
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")  # the machine does not lose power in these tests
        create_tables(self.connection)
        self.store = sqlite_ledger.SqliteLedger(self.connection, **self._options)

    def merge(self, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        self._batch += 1
        with transaction(self.connection):
            return self.store.merge(self._batch, seen_runs)

    def read(self, device_id: str | None = None, boot_nonce: bytes | None = None) -> list[SeenRow]:
        return self.store.read(device_id, boot_nonce)

    def forget_before(self, last_unix_ms: int, limit: int = 2_000) -> int:
        with transaction(self.connection):
            return self.store.forget_before(last_unix_ms, limit)

    def close(self) -> None:
        self.connection.close()


class RedisLedger:
    """RedisSeen on a real server, with a tenant of its own."""

    def __init__(self, server: Valkey, tenant: str = "", shim_id: str = "shim-1", url: str = "") -> None:
        self.server = server
        self.tenant = tenant or uuid.uuid4().hex
        self._shim_id = shim_id
        self._url = url or server.url
        self.batch = 0
        self.reopen()

    def reopen(self) -> None:
        with contextlib.suppress(AttributeError):
            self.client.close()
        self.client = redis_ledger.connect(self._url, timeout_s=10)
        self.store = RedisSeen(self.client, tenant=self.tenant, shim_id=self._shim_id, reorder_window_ms=WINDOW_MS)

    def merge(self, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        self.batch += 1
        return self.store.merge(self.batch, seen_runs)

    def read(self, device_id: str | None = None, boot_nonce: bytes | None = None) -> list[SeenRow]:
        return self.store.read(device_id, boot_nonce)

    def forget_before(self, last_unix_ms: int, limit: int = 2_000) -> int:
        return self.store.forget_before(last_unix_ms, limit)

    def key_names(self) -> list[str]:
        return sorted(key.decode("latin-1") for key in self.client.scan_iter(f"motetrace:{{{self.tenant}}}:*"))

    def close(self) -> None:
        self.client.close()
