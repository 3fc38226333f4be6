"""The span tables: one span is one span, reading, the forward cursor, and retention that counts what it sheds."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motetrace_host.core.spans.span import SpanRow
from motetrace_host.storage import database
from motetrace_host.storage.forward_cursor import ForwardCursor, Position
from motetrace_host.storage.span_store import _DELETE_UNNAMED, SpanStore
from tests.host.spans.conftest import Open
from tests.host.spans.proto_spans import pack
from tests.host.spans.span_samples import START, TRACE_ID, make_rows, make_span


@pytest.fixture
def connection(open_database: Open) -> sqlite3.Connection:
    return open_database()


@pytest.fixture
def store(connection: sqlite3.Connection) -> SpanStore:
    return SpanStore(connection)


@pytest.fixture
def cursor(connection: sqlite3.Connection) -> Callable[[str], ForwardCursor]:
    return lambda target: ForwardCursor(connection, target)


MakeCursor = Callable[[str], ForwardCursor]


def all_ids(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT id FROM span ORDER BY id")]


def without_id(rows: list[SpanRow]) -> list[SpanRow]:
    return [row._replace(id=0) for row in rows]


def test_the_same_span_twice_is_one_span(store: SpanStore) -> None:
    rows = make_rows(3)
    assert store.insert(rows) == 3
    assert store.insert([*rows, *make_rows(1), rows[0]]) == 1
    assert len(store.trace(TRACE_ID)) == 4


def test_the_same_span_id_in_another_trace_is_another_span(store: SpanStore) -> None:
    span = make_span()
    store.insert([pack(span), pack(make_span(trace_id=b"\1" * 16, span_id=span.span_id))])
    assert len(store.trace(TRACE_ID)) == len(store.trace(b"\1" * 16)) == 1


def test_a_trace_is_read_as_it_was_stored_by_start_time(store: SpanStore) -> None:
    late, early = pack(make_span(start_unix_ns=START + 1)), pack(make_span(start_unix_ns=START, service_name="other"))
    store.insert([late, early, *make_rows(2, trace_id=b"\2" * 16)])
    assert without_id(store.trace(TRACE_ID)) == [early, late]
    assert store.trace(b"\3" * 16) == []
    assert without_id(store.trace(TRACE_ID, limit=1)) == [early]


def test_what_a_rolled_back_transaction_stored_is_gone_with_its_resources(
    store: SpanStore, connection: sqlite3.Connection
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    store.insert(make_rows(1, service_name="ghost"))
    connection.execute("ROLLBACK")
    store.insert(make_rows(1, service_name="ghost"))
    assert len(store.trace(TRACE_ID)) == 1
    assert connection.execute("SELECT count(*) FROM resource").fetchone() == (1,)


def test_counters_add_up(store: SpanStore) -> None:
    store.count("a")
    store.count("a", 4)
    store.count("b", 2)
    assert store.counters() == {"a": 5, "b": 2}


def test_a_cursor_walks_every_span_once_and_never_goes_back(store: SpanStore, cursor: MakeCursor) -> None:
    rows = make_rows(10)
    store.insert(rows)
    at = cursor("t")
    at.open()
    seen: list[SpanRow] = []
    while batch := store.after(at.position().span_id, max_spans=4, max_bytes=10**6):
        seen += batch
        at.settle(Position(batch[-1].id), sent=len(batch), refused=0)
    assert without_id(seen) == rows
    at.settle(Position(1), sent=0, refused=2)
    at.open()
    assert at.position() == (seen[-1].id, 0, 0, 0)
    assert at.state() == (10, 2, 0, 0, 0)
    store.insert(make_rows(3))
    assert at.state().pending_spans == 3


def test_a_batch_is_bounded_in_bytes_but_never_empty(store: SpanStore) -> None:
    rows = make_rows(4)
    store.insert(rows)
    size = len(rows[0].span)
    assert len(store.after(0, 100, max_bytes=2 * size)) == 2
    assert len(store.after(0, 100, max_bytes=1)) == 1


def test_a_target_without_a_cursor_has_everything_before_it(store: SpanStore, cursor: MakeCursor) -> None:
    store.insert(make_rows(2))
    assert cursor("unknown").position() == (0, 0, 0, 0)
    assert cursor("unknown").state() == (0, 0, 0, 2, 0)


def test_retention_by_number_drops_the_oldest_and_counts_what_was_not_sent(
    store: SpanStore, cursor: MakeCursor
) -> None:
    rows = make_rows(10)
    store.insert(rows)
    behind, ahead = cursor("behind"), cursor("ahead")
    behind.open()
    ahead.open()
    ids = [row.id for row in store.after(0, 10, 10**6)]
    behind.settle(Position(ids[3]), sent=4, refused=0)
    ahead.settle(Position(ids[9]), sent=10, refused=0)
    assert store.trim(max_spans=3) == 7
    assert without_id(store.trace(TRACE_ID)) == rows[7:]
    assert (behind.state().shed, ahead.state().shed) == (3, 0)
    assert without_id(store.after(behind.position().span_id, 10, 10**6)) == rows[7:]


def test_retention_goes_by_the_order_of_arrival_not_by_the_clock_of_the_sender(store: SpanStore) -> None:
    first, second = make_rows(3), make_rows(2, start_unix_ns=START - 1)
    store.insert([*first, *second])
    assert store.trim(max_spans=2) == 3
    assert without_id(store.trace(TRACE_ID)) == second


def test_a_row_number_is_never_used_again(store: SpanStore) -> None:
    store.insert(make_rows(3))
    last = store.trace(TRACE_ID)[-1].id
    store.trim(max_spans=0)
    store.insert(make_rows(1))
    assert len(store.after(last, 10, 10**6)) == 1


def test_retention_drops_resources_nobody_names(store: SpanStore, connection: sqlite3.Connection) -> None:
    store.insert(make_rows(2, service_name="old"))
    store.insert(make_rows(1, service_name="both"))
    store.insert(make_rows(1, service_name="new"))
    store.insert(make_rows(1, service_name="both"))
    store.trim(max_spans=2)
    named = connection.execute("SELECT id FROM resource ORDER BY id").fetchall()
    assert named == connection.execute("SELECT DISTINCT resource_id FROM span ORDER BY 1").fetchall()
    assert len(named) == 2


def test_dropping_resources_does_not_read_all_spans_under_the_write_lock(connection: sqlite3.Connection) -> None:
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + _DELETE_UNNAMED)]
    on_spans = [step for step in plan if " span" in step]
    assert on_spans
    assert all(step.startswith("SEARCH span USING COVERING INDEX span_by_resource") for step in on_spans), plan


def test_nothing_to_trim_changes_nothing(store: SpanStore) -> None:
    store.insert(make_rows(2))
    assert store.trim(max_spans=2) == 0
    assert len(store.trace(TRACE_ID)) == 2


@settings(max_examples=60, deadline=None)
@given(
    spans=st.integers(0, 30),
    upto=st.integers(0, 30),
    max_spans=st.integers(0, 30),
    limit=st.integers(1, 10),
)
def test_repeated_trims_keep_what_a_slow_and_obvious_oracle_keeps(
    spans: int, upto: int, max_spans: int, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        connection = database.connect(Path(folder) / "motetrace.db")
        try:
            store = SpanStore(connection)
            store.insert(make_rows(spans))
            at = ForwardCursor(connection, "t")
            at.open()
            at.settle(Position(upto), sent=0, refused=0)
            before = all_ids(connection)
            deleted = 0
            while True:
                trimmed = store.trim(max_spans=max_spans, limit=limit)
                assert trimmed <= limit
                deleted += trimmed
                if trimmed < limit:
                    break
            kept = before[max(0, len(before) - max_spans) :]
            lost = set(before) - set(kept)
            assert all_ids(connection) == kept
            assert deleted == len(lost)
            assert at.state().shed == sum(number > upto for number in lost)
        finally:
            connection.close()
