"""The demo's verdict: it finds what is missing, and says where it was seen last."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import Arrival, IdentifiedMessage, MessageIds
from motetrace_host.core.wire.context import Context
from motetrace_host.storage import database
from motetrace_host.storage.message_log import DeviceTopicRow, MessageLog

STAGES = ("rule_evaluate", "transform_store", "db_write")
DEVICE = "sensor-0041"
SECOND_NS = 10**9


@pytest.fixture
def accounting(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent.parent / "examples" / "demo"))
    monkeypatch.delitem(sys.modules, "accounting", raising=False)
    import accounting

    return accounting


def store(state: Path, seq: int, names: tuple[str, ...], status: int = 0, at_s: int = 1000) -> None:
    """Put one message and its spans into the shim's database."""
    trace_id = seq.to_bytes(16, "big")
    connection = database.connect(state / "motetrace.db")
    message = IdentifiedMessage(
        MessageIds(trace_id, bytes(5), seq, trace_id, bytes(8), None),
        Arrival(DEVICE, "t", "t", 1, b"1", at_s * SECOND_NS),
        Context("traceparent", "user_property", trace_id, bytes(8)),
    )
    log = MessageLog(connection)
    log.add_places([DeviceTopicRow(1, DEVICE, "t", "t")])
    log.append([record.pack(message, 1, 16)[0]], {})
    for name in names:
        connection.execute(
            "INSERT INTO span(trace_id, span_id, name, start_unix_ns, end_unix_ns, status, resource_id, scope, span)"
            " VALUES(?, ?, ?, ?, ?, ?, 1, x'', x'')",
            (trace_id, name.encode(), name, *[at_s * SECOND_NS] * 2, status if name == "db_write" else 0),
        )
    connection.close()


def unaccounted(accounting: ModuleType, state: Path, acked: int, stored: list[int]) -> dict[int, str]:
    progress = {DEVICE: accounting.Progress(first_seq=1, sent=acked, acked=acked)}
    (account,) = accounting.draw_up(progress, state, {DEVICE: stored})
    found: dict[int, str] = account.unaccounted
    return found


def test_stored_and_refused_readings_are_accounted_for(accounting: ModuleType, tmp_path: Path) -> None:
    store(tmp_path, 1, STAGES)
    store(tmp_path, 2, STAGES, status=2)
    assert unaccounted(accounting, tmp_path, 2, [1]) == {}


def test_a_missing_reading_is_named_with_the_place_where_it_was_seen_last(
    accounting: ModuleType, tmp_path: Path
) -> None:
    store(tmp_path, 1, STAGES)
    store(tmp_path, 3, STAGES[:1])
    store(tmp_path, 4, STAGES[:2])
    found = unaccounted(accounting, tmp_path, 4, [1, 4])
    assert list(found) == [2, 3, 4]
    assert "never seen by the shim" in found[2]
    assert "neither stored nor refused" in found[3]
    assert "lacks a span" in found[4]


def test_what_the_database_says_is_stored_must_be_there(accounting: ModuleType, tmp_path: Path) -> None:
    store(tmp_path, 1, STAGES)
    assert "neither stored nor refused" in unaccounted(accounting, tmp_path, 1, [])[1]


def test_what_retention_has_deleted_is_not_judged_and_the_rest_is(accounting: ModuleType, tmp_path: Path) -> None:
    store(tmp_path, 1, STAGES, at_s=1000)
    store(tmp_path, 2, STAGES, at_s=1001)
    store(tmp_path, 3, STAGES[:1], at_s=1100)
    connection = database.connect(tmp_path / "motetrace.db")
    connection.execute("DELETE FROM span WHERE id <= 3")
    connection.close()
    assert list(unaccounted(accounting, tmp_path, 3, [1, 2])) == [3]
