"""The packed form of a batch of runs, as `storage/sqlite_ledger.py` logs it between two foldings. Big-endian:

    byte  0       version, 1
          1..4    reorder_window_ms with which the runs were added
          5..     each run: row (8), start (4), end (4), at_unix_ms (8), in the order in which they were added

Adding them again, in order, to the states of before gives the same states.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from typing import Final, NamedTuple

from motetrace_host.core.ledger.seen_numbers import check_run

VERSION: Final = 1
HEAD: Final = struct.Struct(">BI")
RUN: Final = struct.Struct(">QIIQ")


class LoggedRun(NamedTuple):
    """One run that was added to the state of a row."""

    row_id: int
    start: int
    end: int
    at_unix_ms: int
    reorder_window_ms: int


def row_ids(data: bytes) -> set[int]:
    """The rows whose states a batch changes; some of them, when it is no batch, which `unpack` reports."""
    whole = len(data) - (len(data) - HEAD.size) % RUN.size
    return {row_id for row_id, _, _, _ in RUN.iter_unpack(data[HEAD.size : whole])}


def unpack(data: bytes, wanted: Container[int]) -> Iterator[LoggedRun]:
    """The runs of a batch for the wanted rows.

    Raises:
        ValueError: `data` is no batch; names the fault.
    """
    reorder_window_ms = _window(data)
    for row_id, start, end, at_unix_ms in RUN.iter_unpack(data[HEAD.size :]):
        if row_id in wanted:
            check_run(start, end, at_unix_ms)
            yield LoggedRun(row_id, start, end, at_unix_ms, reorder_window_ms)


def _window(data: bytes) -> int:
    if len(data) < HEAD.size or (len(data) - HEAD.size) % RUN.size or data[0] != VERSION:
        raise ValueError(
            f"ledger log of {len(data)} bytes, version {data[:1].hex() or 'none'}; "
            f"version {VERSION:02x} has {HEAD.size} bytes and {RUN.size} for each run"
        )
    _, reorder_window_ms = HEAD.unpack_from(data)
    return int(reorder_window_ms)
