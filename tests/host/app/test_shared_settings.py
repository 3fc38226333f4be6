"""The settings of a shared ledger and a shared subscription: what is taken, what is refused with which remedy."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.cluster import shared_ledger
from motetrace_host.cluster.shared_ledger import LedgerAddress
from motetrace_host.core.errors import StoreError
from motetrace_host.shim import config
from tests.host.app.test_config import load, mistakes

REDIS = "redis://redis.local:6379/0"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("sqlite", ""),
        ("redis://redis.local", REDIS),
        ("redis://redis.local:6379/", REDIS),
        ("rediss://redis.local:7000/12", "rediss://redis.local:7000/12"),
        ("redis://[::1]/1", "redis://[::1]:6379/1"),
    ],
)
def test_a_ledger_is_sqlite_or_an_address_that_is_written_out(written: str, url: str) -> None:
    assert load({"ledger": written}).cluster.ledger == url


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"ledger": "redis.local"}, "write sqlite, redis://HOST"),
        ({"ledger": "http://redis.local"}, "write sqlite, redis://HOST"),
        ({"ledger": "redis://redis.local/x"}, "write sqlite, redis://HOST"),
        ({"ledger": "redis://redis.local?db=1"}, "write sqlite, redis://HOST"),
        ({"ledger": "redis://redis.local:0"}, "write sqlite, redis://HOST"),
        ({"ledger": "redis://redis.local:70000"}, "1..65535"),
        ({"ledger": "redis://:s3cret@redis.local"}, "--ledger-password-file"),
        ({"share": "a/b", "ledger": REDIS}, "1..64 characters"),
        ({"share": "g"}, "--share g needs a ledger that the shims share"),
        ({"ledger_password_file": "p"}, "--ledger-password-file p needs --ledger redis://"),
        ({"ledger": REDIS, "ledger_username": "shim"}, "--ledger-username shim needs --ledger-password-file"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(flags: dict[str, object], told: str) -> None:
    message = mistakes(flags)
    assert told in message
    assert "s3cret" not in message


def test_a_filter_is_shared_only_in_a_group() -> None:
    assert load({"share": "shims", "ledger": REDIS}).cluster.on_share("a/+/b") == "$share/shims/a/+/b"
    assert load({"ledger": REDIS}).cluster.on_share("a/+/b") == "a/+/b"


@pytest.mark.parametrize("password_file", [None, Path("/run/secrets/redis")])
def test_a_report_finds_the_ledger_by_what_the_shim_noted(password_file: Path | None) -> None:
    where = LedgerAddress(REDIS, "tenant", "shim", password_file)
    assert LedgerAddress.of_notes(where.noted()) == where
    assert LedgerAddress.of_notes({"broker": "b:1883"}) is None


@given(st.lists(st.text(max_size=70), max_size=5, unique=True))
def test_every_tenant_has_keys_of_its_own_whatever_its_name(tenants: list[str]) -> None:
    names = [
        shared_ledger.connected(LedgerAddress(REDIS, tenant), "s")._prefix for tenant in [*tenants, ""] if tenant != ""
    ]
    assert len(set(names)) == len(names)


def test_a_fingerprint_tells_keys_and_tenants_apart_and_has_nothing_of_the_key() -> None:
    key = bytes(range(32))
    marks = {shared_ledger.fingerprint(*one) for one in ((key, "a"), (key, "b"), (key[::-1], "a"))}
    assert len(marks) == 3
    assert shared_ledger.fingerprint(key, "a") in marks
    assert not any(mark in key or key in mark for mark in marks)


def test_credentials_in_the_address_are_not_repeated() -> None:
    with pytest.raises(config.ConfigError) as caught:
        load({"ledger": "redis://user:s3cret@host"})
    assert "***@host" in str(caught.value)


def test_without_the_package_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "motetrace_host.cluster.redis_ledger", raising=False)
    monkeypatch.delattr("motetrace_host.cluster.redis_ledger", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(StoreError, match=r"needs the Python package redis: pip install 'motetrace\[redis\]'"):
        shared_ledger.connected(LedgerAddress(REDIS, ""), "s")
