"""What `motetrace devices` and `motetrace trace` tell on a machine whose shim shares its ledger with others."""

from __future__ import annotations

from pathlib import Path

import pytest
from services import Valkey

from motetrace_host.cluster import shared_ledger
from motetrace_host.cluster.shared_ledger import LedgerAddress
from motetrace_host.commands import devices
from motetrace_host.commands import trace as reading
from motetrace_host.core.errors import OperatorError
from motetrace_host.storage.database import transaction
from motetrace_host.storage.run_settings import RunSettings
from tests.host.app.conftest import Bench
from tests.host.ledger.test_shared_journal import BOOT, Given, numbered


@pytest.fixture
def folder(valkey: Valkey, tmp_path: Path) -> Path:
    """The state folder of a shim that has 1 and 3 of a device; 2 went to another shim."""
    where = LedgerAddress(valkey.url, "")
    for name, seqs in (("here", (1, 3)), ("elsewhere", (2,))):
        bench = Bench(tmp_path / name / "motetrace.db", ledger=Given(shared_ledger.connected(where, name)))
        bench.journal.connected()
        bench.journal.write(bench.batch(*numbered(*seqs)))
        with transaction(bench.connection):
            RunSettings(bench.connection).note({"broker": "b:1883", "client_id": "c", **where.noted()})
        bench.close()
    return tmp_path / "here"


def trace(folder: Path, seq: int, boot: str | None = None) -> tuple[str, int]:
    return reading.report(folder, folder / "key", "", "s", seq, boot)


def test_devices_are_counted_as_all_shims_saw_them(folder: Path, valkey: Valkey) -> None:
    text, code = devices.report(folder)
    assert code == 0
    row = text.splitlines()[1].split()
    assert row[:7] == ["s", BOOT, "3", "0", "0", "0", "1"]
    assert f"Boots as all shims on {valkey.url} saw them" in text


def test_a_reading_of_this_shim_is_told_as_ever(folder: Path) -> None:
    text, code = trace(folder, 3)
    assert code == 0
    assert "delivered   once" in text


def test_a_reading_that_another_shim_has_is_no_gap(folder: Path, valkey: Valkey) -> None:
    for boot in (None, BOOT):
        text, code = trace(folder, 2, boot)
        assert code == 0
        assert f"s seq 2, boot {BOOT}" in text
        assert f"counted once on {valkey.url}; its record is on another shim" in text
    text, code = trace(folder, 2, "ffffffffff")
    assert code == 1
    text, code = trace(folder, 4)
    assert (code, "s seq 4: not in the ledger." in text) == (1, True)


def test_a_ledger_out_of_reach_is_named(folder: Path, valkey: Valkey) -> None:
    valkey.stop()
    for report in (lambda: devices.report(folder), lambda: trace(folder, 1)):
        with pytest.raises(OperatorError, match=f"the ledger of this shim is {valkey.url}: Redis is out of reach"):
            report()
