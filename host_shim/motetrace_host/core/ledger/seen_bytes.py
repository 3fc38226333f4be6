"""The packed form of a ledger state (`seen_numbers.py`), the same in SQLite and in Redis. All numbers are big-endian.

    byte  0        version, 1
          1..4     lowest            5..8     highest
          9..16    first_unix_ms     17..24   last_unix_ms
          25..32   duplicates        33..40   late
          41..48   recovered         49..56   forgotten
          57..58   number of gaps, 0..1024
          59..     each gap: start (4), end (4), opened_unix_ms (8); ascending, none overlapping

Eight-byte numbers are 0..2**53-1: Redis's Lua computes with doubles, which hold exactly those.
"""

from __future__ import annotations

import struct
from typing import Final

VERSION: Final = 1
MAX_GAPS: Final = 1024
MAX_NUMBER: Final = 2**53 - 1
HEAD: Final = struct.Struct(">BIIQQQQQQH")
GAP: Final = struct.Struct(">IIQ")

Gap = tuple[int, int, int]
State = tuple[int, int, int, int, int, int, int, int, list[Gap]]


def pack(
    lowest: int, highest: int, first_unix_ms: int, last_unix_ms: int,
    duplicates: int, late: int, recovered: int, forgotten: int, gaps: list[Gap],
) -> bytes:  # fmt: skip
    """Write a state; 59 bytes and 16 for each gap."""
    head = HEAD.pack(
        VERSION, lowest, highest, first_unix_ms, last_unix_ms, duplicates, late, recovered, forgotten, len(gaps)
    )
    return head + b"".join([GAP.pack(*gap) for gap in gaps]) if gaps else head


def unpack(data: bytes) -> State:
    """Read a state: its eight numbers in the order of the table, then the gaps.

    Raises:
        ValueError: `data` is no state that `core/ledger/seen_numbers.py` could be in; names the fault.
    """
    if len(data) < HEAD.size:
        raise ValueError(f"ledger state of {len(data)} bytes; it has at least {HEAD.size}")
    version, lowest, highest, first, last, duplicates, late, recovered, forgotten, gap_count = HEAD.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"ledger state of version {version}; this motetrace reads version {VERSION}: upgrade it")
    if gap_count > MAX_GAPS or len(data) != HEAD.size + gap_count * GAP.size:
        raise ValueError(
            f"ledger state of {len(data)} bytes names {gap_count} gaps; "
            f"it has {HEAD.size} bytes and {GAP.size} for each of 0..{MAX_GAPS} gaps"
        )
    if lowest > highest:
        raise ValueError(f"ledger state with lowest {lowest} above highest {highest}")
    gaps = list(GAP.iter_unpack(data[HEAD.size :])) if gap_count else []
    gone = forgotten + _check_gaps(lowest, highest, gaps)
    if gone > highest - lowest:
        raise ValueError(f"ledger state in which {gone} of the numbers {lowest}..{highest} are missing; one was seen")
    if max(first, last, duplicates, late, recovered) > MAX_NUMBER or recovered > late:
        raise ValueError(
            f"ledger state with times {first} and {last}, {duplicates} duplicates, {late} late, {recovered} recovered;"
            f" each is 0..{MAX_NUMBER}, and recovered ones are late"
        )
    return lowest, highest, first, last, duplicates, late, recovered, forgotten, gaps


def _check_gaps(lowest: int, highest: int, gaps: list[Gap]) -> int:
    """Check that gaps ascend between the bounds; how many numbers are in them."""
    missing = 0
    least = lowest
    for start, end, opened_unix_ms in gaps:
        if not (least <= start <= end < highest and opened_unix_ms <= MAX_NUMBER):
            raise ValueError(
                f"ledger state with gap {start}..{end}, opened {opened_unix_ms}; "
                f"the numbers must ascend within {least}..{highest - 1}, the time within 0..{MAX_NUMBER}"
            )
        missing += end - start + 1
        least = end + 1
    return missing
