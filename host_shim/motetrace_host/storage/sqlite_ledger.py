"""The ledger states of one machine in SQLite: states in rows, and a log of the runs added since they were written.

Everything runs inside the caller's transaction (`database.transaction`), so that the ledger and the records of a batch
reach the disk together. That also makes a batch count once: it is there or it is not, and a repeated one is a new one.

Why a log: a batch of a few thousand messages changes as many states, scattered over all pages of the table; writing
them costs 2 us each and rewrites the whole table in the write-ahead log, some MB for each second of a fleet. The runs
alone, 24 bytes each in one blob, cost a tenth of that. After LOG_RUNS runs the changed states are written (*folded*)
once for all their messages, in the transaction of that batch, and the log begins anew. Where the changed states are
many, that waits until each stands for RUNS_PER_STATE runs, and the log has RUNS_PER_STATE times LOG_RUNS at most.

What must hold: a state row names the log row up to which it has everything (`log_id`); a state is that of its row and
then the runs of the later log rows, in order. States that the log changed stay in memory until they are folded, so a
row read later is never behind. The highest log row is never deleted without a higher one: seeing another than its own,
a store finds that another one wrote (retention in another process) or that its work was rolled back, and reads anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger import run_log
from motetrace_host.core.ledger.run_log import LoggedRun
from motetrace_host.core.ledger.runs import Runs
from motetrace_host.core.ledger.seen_numbers import REORDER_WINDOW_MS, SeenNumbers
from motetrace_host.core.ledger.store import SeenRow, SeenRuns
from motetrace_host.storage.database import integer, one_moment

CACHE_STATES: Final = 100_000  # 54 MB when full
LOG_RUNS: Final = 65_536  # 1.6 MB of log, read again at every start and by every report
RUNS_PER_STATE: Final = 4
_KEYS_PER_SELECT: Final = 500
_HOUR_MS: Final = 3_600_000
_UPSERT: Final = (
    "INSERT INTO seen(log_id, state, last_hour, id, device_id, boot_nonce, hop) VALUES(?,?,?,?,?,?,?)"
    " ON CONFLICT(id) DO UPDATE SET log_id = excluded.log_id, state = excluded.state, last_hour = excluded.last_hour"
)
_UPDATE: Final = "UPDATE seen SET log_id = ?, state = ? WHERE id = ?"
_UPDATE_WITH_HOUR: Final = "UPDATE seen SET log_id = ?, state = ?, last_hour = ? WHERE id = ?"
_SELECT: Final = "SELECT seen.id, device_id, boot_nonce, hop, log_id, last_hour, state FROM "
# Of each boot the row seen last, if that was long ago; bytes 17..24 of a state are last_unix_ms, and big-endian numbers
# compare as their bytes do.
_OLDEST: Final = (
    "SELECT boot_nonce FROM seen AS last WHERE last_hour <= ? AND substr(state, 18, 8) < ? AND NOT EXISTS"
    " (SELECT 1 FROM seen AS later WHERE later.boot_nonce = last.boot_nonce"
    " AND (substr(later.state, 18, 8), later.id) > (substr(last.state, 18, 8), last.id))"
    " ORDER BY last_hour, substr(state, 18, 8) LIMIT ?"
)
_BY_ID: Final = "seen.id = wanted.column1"
_BY_KEY: Final = "device_id = wanted.column1 AND boot_nonce = wanted.column2 AND hop = wanted.column3"

Key = tuple[str, bytes, str]


class _State:
    """A row of the table and what is to be written to it."""

    __slots__ = ("hour", "key", "log_id", "row_id", "seen")

    def __init__(self, row_id: int, key: Key, log_id: int, hour: int, seen: SeenNumbers) -> None:
        self.row_id = row_id
        self.key = key
        self.log_id = log_id
        self.hour = hour  # as it is in the row
        self.seen = seen


class SqliteLedger:
    """The ledger states of one database; one thread at a time.

    Args:
        connection: Of `database.connect`.
        reorder_window_ms: 0..2**32-1; a gap that was older when a number of it came had been a loss.
        cache_states: How many states are held in memory, and those of one batch; 540 bytes each.
        log_runs: After how many runs, at least, the changed states are written.
    Raises:
        StoreError: (by every method) a row is damaged. sqlite3.Error: for `database.transaction` or
            `database.translated` around the call to turn into a StoreError.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        reorder_window_ms: int = REORDER_WINDOW_MS,
        cache_states: int = CACHE_STATES,
        log_runs: int = LOG_RUNS,
    ) -> None:
        self._connection = connection
        self._reorder_window_ms = reorder_window_ms
        self._cache_states = cache_states
        self._log_runs = log_runs
        self._states: dict[Key, _State] = {}
        self._changed: dict[int, _State] = {}  # since the last fold, by row id
        self._logged = 0
        self._log_id = -1  # none: read the log first
        self._next_id = 1

    def merge(self, batch_id: int, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        """Add the runs of a batch; see `SeenStore.merge`. Runs inside the caller's transaction; needs no batch id."""
        try:
            self._catch_up()
            keys = [seen[:3] for seen in seen_runs]
            found = [*map(self._states.get, keys)]
            if not all(found):
                self._load({key for key, state in zip(keys, found, strict=True) if state is None})
                found = [*map(self._states.get, keys)]
            return self._merge(keys, found, seen_runs)
        except BaseException:
            self.forget_cache()
            raise

    def read(self, device_id: str | None = None, boot_nonce: bytes | None = None) -> list[SeenRow]:
        """The states; see `SeenStore.read`. Sees one moment of the database, whoever else writes."""
        with one_moment(self._connection):
            wanted = {"device_id": device_id, "boot_nonce": boot_nonce}
            known = {column: value for column, value in wanted.items() if value is not None}
            where = " AND ".join(f"{column} = :{column}" for column in known) or "true"
            found = self._connection.execute(f"{_SELECT} seen WHERE {where} ORDER BY device_id, boot_nonce, hop", known)
            rows = [_row(*values) for values in found]
            return [SeenRow(*row.key, row.seen) for row in _replayed(rows, self._log())]

    def each(self) -> Iterator[SeenRow]:
        """The states one after the other, in no order, for those who need not hold them all.

        Inside the caller's transaction, so that all are of one moment.
        """
        added: dict[int, list[tuple[int, LoggedRun]]] = {}
        for log_id, runs in self._log():
            try:
                for run in run_log.unpack(runs, run_log.row_ids(runs)):
                    added.setdefault(run.row_id, []).append((log_id, run))
            except ValueError as exc:
                raise _damaged(f"row {log_id} of seen_log", exc) from exc
        for values in self._connection.execute(f"{_SELECT} seen"):
            row = _row(*values)
            for log_id, run in added.get(row.row_id, ()):
                if log_id > row.log_id:
                    row.seen.add(run.start, run.end, run.at_unix_ms, run.reorder_window_ms)
            yield SeenRow(*row.key, row.seen)

    def forget_before(self, last_unix_ms: int, limit: int = 2_000) -> int:
        """Delete boots last seen before a time; see `SeenStore.forget_before`. Inside the caller's transaction."""
        try:
            self._catch_up()
            self._fold(self._log_id + 1)
            oldest = self._connection.execute(
                _OLDEST, (last_unix_ms // _HOUR_MS, last_unix_ms.to_bytes(8, "big"), limit)
            ).fetchall()
            self._connection.executemany("DELETE FROM seen WHERE boot_nonce = ?", oldest)
            gone = {boot_nonce for (boot_nonce,) in oldest}
            self._states = {key: state for key, state in self._states.items() if key[1] not in gone}
        except BaseException:
            self.forget_cache()
            raise
        return len(oldest)

    def oldest_hour(self) -> int | None:
        """The earliest hour since 1970 in which any state can have been seen last; None without states."""
        found: int | None = self._connection.execute("SELECT min(last_hour) FROM seen").fetchone()[0]
        return found

    def rows(self, at_most: int) -> int:
        """How many states there are, or some number of at most `at_most`: cheap while it is not exceeded."""
        span = integer(self._connection, "SELECT coalesce(max(id) - min(id) + 1, 0) FROM seen")
        return span if span <= at_most else integer(self._connection, "SELECT count(*) FROM seen")

    def fold(self) -> None:
        """Write every state to its row, inside the caller's transaction; other stores read anew then.

        For those who change rows by themselves (storage/boot_rename.py), in the same transaction.
        """
        self._catch_up()
        self._fold(self._log_id + 1)
        self.forget_cache()

    def forget_cache(self) -> None:
        """Read everything anew: the transaction was rolled back."""
        self._states.clear()
        self._changed.clear()
        self._log_id = -1

    def _merge(self, keys: list[Key], found: list[_State | None], seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        """Add runs to states; `found` has those that were there before, by entry."""
        changed, window_ms = self._changed, self._reorder_window_ms
        pack = run_log.RUN.pack
        log = [run_log.HEAD.pack(run_log.VERSION, window_ms)]
        whole: list[_State] = []
        results: list[Runs] = []
        for key, state, (_, _, _, runs, at_unix_ms, expected_first) in zip(keys, found, seen_runs, strict=True):
            again: Runs = ()
            if runs and (state is None or expected_first is not None):
                state, runs = self._begin(key, runs, at_unix_ms, expected_first)
                whole.append(state)
            if runs and state is not None:
                row_id = state.row_id
                for start, end in runs:
                    again += state.seen.add(start, end, at_unix_ms, window_ms)
                    log.append(pack(row_id, start, end, at_unix_ms))
                changed[row_id] = state
            results.append(again)
        self._write(log, whole)
        return results

    def _begin(
        self, key: Key, runs: Sequence[tuple[int, int]], at_unix_ms: int, expected_first: int | None
    ) -> tuple[_State, Sequence[tuple[int, int]]]:
        """The state of a boot that begins here, or whose first number is given; and the runs still to be added."""
        state = self._states.get(key)
        if state is None:
            (start, end), *runs = runs
            seen = SeenNumbers(start, end, at_unix_ms, expected_first)
            state = self._states[key] = _State(self._next_id, key, 0, 0, seen)
            self._next_id += 1
        elif expected_first is not None:
            state.seen.expect(expected_first, at_unix_ms)
        self._changed[state.row_id] = state
        return state, runs

    def _write(self, log: list[bytes], whole: list[_State]) -> None:
        """Write the log row of a batch, and the states that a log of runs cannot tell; fold when it is time."""
        log_id = self._log_id + 1
        self._connection.executemany(_UPSERT, [(*_with_hour(log_id, state), *state.key) for state in whole])
        self._logged += len(log) - 1
        enough = min(max(self._log_runs, RUNS_PER_STATE * len(self._changed)), RUNS_PER_STATE * self._log_runs)
        if self._logged >= enough or len(self._states) > self._cache_states:
            self._fold(log_id)
        else:
            self._connection.execute("INSERT INTO seen_log(id, runs) VALUES(?, ?)", (log_id, b"".join(log)))
        self._log_id = log_id

    def _fold(self, log_id: int) -> None:
        """Write the changed states, begin the log anew with row `log_id`, and keep the memory within its bound."""
        changed = [self._changed[row_id] for row_id in sorted(self._changed)]  # page by page
        same = [(log_id, s.seen.pack(), s.row_id) for s in changed if s.seen.last_unix_ms // _HOUR_MS == s.hour]
        moved = [_with_hour(log_id, s) for s in changed if s.seen.last_unix_ms // _HOUR_MS != s.hour]
        self._connection.executemany(_UPDATE, same)
        self._connection.executemany(_UPDATE_WITH_HOUR, moved)
        self._connection.execute("DELETE FROM seen_log")
        self._connection.execute(
            "INSERT INTO seen_log(id, runs) VALUES(?, ?)",
            (log_id, run_log.HEAD.pack(run_log.VERSION, self._reorder_window_ms)),
        )
        self._log_id, self._logged = log_id, 0
        if len(self._states) > self._cache_states:
            # Those not seen since the last fold go; and of the others so many that the next fold is not soon.
            self._states = {state.key: state for state in islice(reversed(changed), self._cache_states // 2)}
        self._changed.clear()

    def _catch_up(self) -> None:
        """Read the log, unless what this store holds is what the database has."""
        newest = integer(self._connection, "SELECT coalesce(max(id), 0) FROM seen_log")
        if self._log_id == newest:
            return
        self.forget_cache()
        self._next_id = 1 + integer(self._connection, "SELECT coalesce(max(id), 0) FROM seen")
        log = self._log()
        named = set().union(*(run_log.row_ids(runs) for _, runs in log))
        for row in _replayed(self._select(_BY_ID, ((row_id,) for row_id in named)), log):
            self._states[row.key] = self._changed[row.row_id] = row
        self._logged = sum(len(runs) // run_log.RUN.size for _, runs in log)
        self._log_id = newest

    def _load(self, keys: set[Key]) -> None:
        """Read states that are not held; the log names none of them."""
        for row in self._select(_BY_KEY, keys):
            self._states[row.key] = row

    def _select(self, condition: str, wanted: Iterable[tuple[object, ...]]) -> Iterator[_State]:
        """Rows by id or key, in few statements."""
        remaining = iter(wanted)
        while part := list(islice(remaining, _KEYS_PER_SELECT)):
            marks = ",".join(["(" + ",".join("?" * len(part[0])) + ")"] * len(part))
            query = f"WITH wanted AS (VALUES {marks}) {_SELECT} wanted CROSS JOIN seen ON {condition}"
            for values in self._connection.execute(query, [value for key in part for value in key]):
                yield _row(*values)

    def _log(self) -> list[tuple[int, bytes]]:
        return self._connection.execute("SELECT id, runs FROM seen_log ORDER BY id").fetchall()


def _row(row_id: int, device_id: str, boot_nonce: bytes, hop: str, log_id: int, hour: int, state: bytes) -> _State:
    try:
        return _State(row_id, (device_id, boot_nonce, hop), log_id, hour, SeenNumbers.unpack(state))
    except ValueError as exc:
        raise _damaged(f"row {row_id} of seen", exc) from exc


def _replayed(rows: Iterable[_State], log: Iterable[tuple[int, bytes]]) -> list[_State]:
    """The rows with the runs that the log has and they have not."""
    by_id = {row.row_id: row for row in rows}
    for log_id, runs in log:
        try:
            for run in run_log.unpack(runs, by_id):
                if log_id > by_id[run.row_id].log_id:
                    by_id[run.row_id].seen.add(run.start, run.end, run.at_unix_ms, run.reorder_window_ms)
        except ValueError as exc:
            raise _damaged(f"row {log_id} of seen_log", exc) from exc
    return list(by_id.values())


def _with_hour(log_id: int, state: _State) -> tuple[int, bytes, int, int]:
    """What is written to a row, its id last; notes the hour as written."""
    state.hour = state.seen.last_unix_ms // _HOUR_MS
    return log_id, state.seen.pack(), state.hour, state.row_id


def _damaged(what: str, fault: ValueError) -> StoreError:
    remedy = "stop motetrace and run `sqlite3 FILE 'PRAGMA integrity_check'`"
    return StoreError(f"{what} is damaged: {fault}; {remedy}", retry=False)
