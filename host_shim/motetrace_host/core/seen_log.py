"""The packed form of a batch of runs, as `edges/sqlite_seen.py` logs it between two foldings. Big-endian:

    byte  0       version, 1
          1..4    reorder_window_ms with which the runs were added
          5..     each run: row (8), start (4), end (4), at_unix_ms (8), in the order in which they were added

Adding them again, in order, to the states of before gives the same states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from motetrace_host.core.seen import check_run

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


def unpack(data: bytes) -> Iterator[LoggedRun]:
    """Read a batch.

    Raises:
        ValueError: it is not one; names the fault.
    """
    if len(data) < HEAD.size or (len(data) - HEAD.size) % RUN.size or data[0] != VERSION:
        raise ValueError(
            f"ledger log of {len(data)} bytes, version {data[:1].hex() or 'none'}; "
            f"version {VERSION:02x} has {HEAD.size} bytes and {RUN.size} for each run"
        )
    _, reorder_window_ms = HEAD.unpack_from(data)
    for row_id, start, end, at_unix_ms in RUN.iter_unpack(data[HEAD.size :]):
        check_run(start, end, at_unix_ms)
        yield LoggedRun(row_id, start, end, at_unix_ms, reorder_window_ms)
