"""Rows as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(rows: Sequence[Sequence[str]], left: Iterable[int] = ()) -> list[str]:
    """Align columns, two blanks between them.

    Args:
        rows: of equal length.
        left: columns that are aligned to the left; the others are numbers.
    """
    to_the_left = set(left)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in to_the_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def runs(found: Sequence[tuple[int, int]], most: int = 5) -> str:
    """Write runs of numbers: `3, 7..9 and 12 more runs`."""
    shown = [str(start) if start == end else f"{start}..{end}" for start, end in found[:most]]
    rest = len(found) - most
    return ", ".join(shown) + (f" and {rest} more run{'s' if rest > 1 else ''}" if rest > 0 else "")
