"""A ledger of each kind, and the server of the shared one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Valkey

from tests.host.ledger.stores import RedisLedger, SqliteLedger

# The second SQLite ledger holds almost nothing in memory and folds all the time.
KINDS = ("sqlite", "cramped sqlite", "redis")


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for all tests that leave it running; each uses a tenant of its own."""
    with Valkey(tmp_path_factory.mktemp("valkey"), fsync="no") as server:
        yield server


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A server of this test alone: .host, .port, .url, stop(), start(), restart(), kill()."""
    with Valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def redis_ledger(shared_valkey: Valkey) -> Iterator[RedisLedger]:
    ledger = RedisLedger(shared_valkey)
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteLedger | RedisLedger]:
    if request.param == "redis":
        yield request.getfixturevalue("redis_ledger")
        return
    options = {"cache_states": 2, "log_runs": 7} if request.param == "cramped sqlite" else {}
    ledger = SqliteLedger(tmp_path / "ledger.db", **options)
    yield ledger
    ledger.close()
