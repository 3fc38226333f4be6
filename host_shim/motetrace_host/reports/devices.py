"""`motetrace devices`: per device and boot what was seen, what came twice, what is missing; and what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motetrace_host.core.printable import printable
from motetrace_host.edges.ledger import Ledger
from motetrace_host.reports.counts import BootCount, counts
from motetrace_host.reports.state import clock, opened, seen_store, shared_where

_HEADINGS = ("device", "boot", "seen", "twice", "lost", "waiting", "lowest", "highest", "last seen")
_LEFT = (0, 1, 8)


def report(folder: Path, device_id: str | None = None) -> tuple[str, int]:
    """Tell about all devices, or one.

    Returns:
        The text, and the exit code: 0, or 1 when nothing is known.
    Raises:
        ReportError: no database.
    """
    with opened(folder) as connection:
        found = counts(connection, seen_store(connection), device_id)
        shared = shared_where(connection)
        rejections = [row for row in Ledger(connection).rejections() if device_id in (None, row[0])]
    if not found and not rejections:
        return ("Nothing was seen yet.\n" if device_id is None else f"{printable(device_id)}: nothing was seen.\n"), 1
    lines = _table([_HEADINGS, *(_row(count) for count in found)], _LEFT) if found else []
    if rejections:
        shown = [(printable(device) or "(no device)", str(count), reason) for device, reason, count in rejections]
        lines += ["", "rejected:", *_table(shown, (0, 2))]
    if shared:
        lines += ["", f"Boots as all shims on {shared.url} saw them; rejections, and rows without a boot, of this one."]
    return "\n".join(lines) + "\n", 0


def _row(count: BootCount) -> tuple[str, ...]:
    numbered = count.highest_seq is not None
    return (
        printable(count.device_id, 40),
        count.boot_nonce.hex() if count.boot_nonce else "-",
        str(count.seen),
        str(count.duplicates),
        str(count.lost) if numbered else "-",
        str(count.waiting) if numbered else "-",
        str(count.lowest_seq) if numbered else "-",
        str(count.highest_seq) if numbered else "-",
        clock(count.last_received_unix_ns),
    )


def _table(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
