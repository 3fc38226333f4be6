"""The span tables: one span is one span, reading, the forward cursor, and retention that counts what it sheds."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motetrace_host.core.otlp_span import pack
from motetrace_host.core.span import SpanRow, Status
from motetrace_host.edges import database
from motetrace_host.edges.span_store import SpanStore, TraceSummary
from tests.host.spans.conftest import Open
from tests.host.spans.span_samples import MS, START, TRACE_ID, make_rows, make_span

FOREVER = {"max_spans": 10**9, "older_than_unix_ns": 0}


@pytest.fixture
def connection(open_database: Open) -> sqlite3.Connection:
    return open_database()


@pytest.fixture
def store(connection: sqlite3.Connection) -> SpanStore:
    return SpanStore(connection)


def all_spans(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    return connection.execute("SELECT id, start_unix_ns FROM span ORDER BY id").fetchall()


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


def test_recent_traces_come_newest_first_with_their_range_and_errors(store: SpanStore) -> None:
    store.insert(make_rows(1, trace_id=b"\1" * 16))
    store.insert(make_rows(2, trace_id=b"\2" * 16, end_unix_ns=START + 7 * MS, status=Status.ERROR))
    store.insert(make_rows(1, trace_id=b"\1" * 16, start_unix_ns=START - 1))
    assert store.recent() == [
        TraceSummary(b"\1" * 16, START - 1, START + 5 * MS, 2, 0),
        TraceSummary(b"\2" * 16, START, START + 7 * MS, 2, 2),
    ]
    assert [summary.trace_id for summary in store.recent(limit=1)] == [b"\1" * 16]


def test_counters_add_up(store: SpanStore) -> None:
    store.count("a")
    store.count("a", 4)
    store.count("b", 2)
    assert store.counters() == {"a": 5, "b": 2}


def test_a_cursor_walks_every_span_once_and_never_goes_back(store: SpanStore) -> None:
    rows = make_rows(10)
    store.insert(rows)
    store.open_cursor("t")
    seen: list[SpanRow] = []
    while batch := store.unforwarded("t", max_spans=4, max_bytes=10**6):
        seen += batch
        store.settle("t", batch[-1].id, sent=len(batch), refused=0)
    assert without_id(seen) == rows
    store.settle("t", 1, sent=0, refused=2)
    store.open_cursor("t")
    assert store.cursor("t") == (seen[-1].id, 10, 2, 0, 0)
    store.insert(make_rows(3))
    assert store.cursor("t").pending == 3


def test_a_batch_is_bounded_in_bytes_but_never_empty(store: SpanStore) -> None:
    rows = make_rows(4)
    store.insert(rows)
    store.open_cursor("t")
    size = len(rows[0].span)
    assert len(store.unforwarded("t", 100, max_bytes=2 * size)) == 2
    assert len(store.unforwarded("t", 100, max_bytes=1)) == 1


def test_a_target_without_a_cursor_has_nothing_to_send(store: SpanStore) -> None:
    store.insert(make_rows(2))
    assert store.unforwarded("unknown", 10, 10**6) == []
    assert store.cursor("unknown") == (0, 0, 0, 0, 2)


def test_retention_by_number_drops_the_oldest_and_counts_what_was_not_sent(store: SpanStore) -> None:
    rows = make_rows(10)
    store.insert(rows)
    store.open_cursor("behind")
    store.open_cursor("ahead")
    ids = [row.id for row in store.unforwarded("behind", 10, 10**6)]
    store.settle("behind", ids[3], sent=4, refused=0)
    store.settle("ahead", ids[9], sent=10, refused=0)
    assert store.trim(max_spans=3, older_than_unix_ns=0) == (7, 3)
    assert without_id(store.trace(TRACE_ID)) == rows[7:]
    assert (store.cursor("behind").shed, store.cursor("ahead").shed) == (3, 0)
    assert without_id(store.unforwarded("behind", 10, 10**6)) == rows[7:]


def test_retention_by_age_drops_by_start_time(store: SpanStore) -> None:
    old, new = make_rows(3, start_unix_ns=START - 1), make_rows(2)
    store.insert([*new, *old])
    assert store.trim(max_spans=10, older_than_unix_ns=START).deleted == 3
    assert without_id(store.trace(TRACE_ID)) == new


def test_a_row_number_is_never_used_again(store: SpanStore) -> None:
    store.insert(make_rows(3))
    store.open_cursor("t")
    store.settle("t", store.trace(TRACE_ID)[-1].id, sent=3, refused=0)
    store.trim(max_spans=0, older_than_unix_ns=0)
    store.insert(make_rows(1))
    assert len(store.unforwarded("t", 10, 10**6)) == 1


def test_retention_drops_resources_nobody_names(store: SpanStore, connection: sqlite3.Connection) -> None:
    store.insert(make_rows(1, service_name="old", start_unix_ns=START - 1))
    store.insert(make_rows(1, service_name="new"))
    store.trim(max_spans=10, older_than_unix_ns=START)
    assert connection.execute("SELECT count(*) FROM resource").fetchone() == (1,)


def test_nothing_to_trim_changes_nothing(store: SpanStore) -> None:
    store.insert(make_rows(2))
    assert store.trim(**FOREVER) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.integers(1, 20), max_size=30),
    upto=st.integers(0, 30),
    max_spans=st.integers(0, 30),
    older_than=st.integers(0, 21),
    limit=st.integers(1, 10),
)
def test_repeated_trims_keep_what_a_slow_and_obvious_oracle_keeps(
    starts: list[int], upto: int, max_spans: int, older_than: int, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        connection = database.connect(Path(folder) / "motetrace.db")
        try:
            store = SpanStore(connection)
            store.insert([pack(make_span(start_unix_ns=start)) for start in starts])
            store.open_cursor("t")
            store.settle("t", upto, sent=0, refused=0)
            before = all_spans(connection)
            deleted = shed = 0
            while True:
                trimmed = store.trim(max_spans=max_spans, older_than_unix_ns=older_than, limit=limit)
                assert trimmed.deleted <= limit
                deleted, shed = deleted + trimmed.deleted, shed + trimmed.shed
                if trimmed.deleted < limit:
                    break
            kept = [(number, start) for number, start in before if start >= older_than]
            kept = kept[max(0, len(kept) - max_spans) :]
            lost = set(before) - set(kept)
            assert all_spans(connection) == kept
            assert deleted == len(lost)
            assert shed == sum(number > upto for number, _ in lost) == store.cursor("t").shed
        finally:
            connection.close()
