"""What one hop saw of one boot: the numbers from the lowest to the highest, less the gaps between them.

A device numbers its messages, so a hop need not store messages to find which are missing: two bounds and a list of
gaps do, 59 bytes for a boot without losses however long it runs. Every run of numbers goes through `SeenNumbers.add`:

| a run | what happens |
|---|---|
| right above the highest | the highest moves; the usual case |
| further above | the numbers between become a gap, opened at the time of this run |
| in a gap | the gap shrinks, splits or closes; the numbers are `late`, and `recovered` too if they counted as lost |
| below the lowest | late as well; what lies between becomes a gap, opened at the time of this run |
| seen before | returned to the caller, and each number counted in `duplicates` |

A gap is *waiting* while it is younger than the reorder window, then *lost*; a late arrival takes the loss back. The
state itself does not change with time: the reader gives the time.

Clock steps: times are kept as they are given, so `first_unix_ms` and `last_unix_ms` are those of the first and the last
run in order of arrival, and the last may lie before the first. The age of a gap counts without its sign. A clock that
steps back by more than the window makes the waiting gaps lost at once, and one that steps back by years cannot keep a
gap waiting for years; a gap that comes to be called lost too early is taken back by its messages, as every other.

The bound: MAX_GAPS gaps are kept, 16 KiB at most. Beyond them the lowest gap is closed and its numbers are `forgotten`:
lost for good. They cannot be distinguished from seen ones any more, so `contains` is True for them and an arrival
counts as duplicate.

The packed form, the same in SQLite and in Redis; all numbers are big-endian:

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
from bisect import bisect_left
from typing import Final, NamedTuple

from motetrace_host.core.ledger.runs import MAX_SEQ, Run, Runs

VERSION: Final = 1
MAX_GAPS: Final = 1024
MAX_NUMBER: Final = 2**53 - 1
HEAD: Final = struct.Struct(">BIIQQQQQQH")
GAP: Final = struct.Struct(">IIQ")

Gap = tuple[int, int, int]
MAX_UNIX_MS: Final = MAX_NUMBER
MAX_COUNT: Final = MAX_NUMBER
REORDER_WINDOW_MS: Final = 10_000

_NONE: Final[Runs] = ()


class MissingRun(NamedTuple):
    """Numbers `start`..`end` that were not seen; `lost` when the gap has outlived the reorder window."""

    start: int
    end: int
    opened_unix_ms: int
    lost: bool


class SeenNumbers:
    """What one hop saw of one boot. It begins with its first run, so it is never empty.

    Args:
        start, end: The first run, 0..2**32-1 both, inclusive.
        at_unix_ms: When it was seen, 0..2**53-1.
        expected_first: The number this boot is known to have begun with; those from there to `start` are a gap.
    Attributes:
        lowest, highest: 0..2**32-1. `highest` was seen; `lowest` was, unless it is an `expected_first`.
        first_unix_ms, last_unix_ms: Times of the first and the last run in order of arrival, duplicates included.
        duplicates: Numbers that came again, 0..2**53-1 and no further.
        late: Numbers that came below the highest and were new.
        recovered: Those of them whose gap had already counted as lost.
        forgotten: Numbers in gaps that the bound closed.
        gaps: (start, end, opened_unix_ms), ascending, at most MAX_GAPS.
    Raises:
        ValueError: a number is out of range; names it and the range.
    """

    __slots__ = (
        "duplicates", "first_unix_ms", "forgotten", "gaps", "highest", "last_unix_ms", "late", "lowest", "recovered",
    )  # fmt: skip

    def __init__(self, start: int, end: int, at_unix_ms: int, expected_first: int | None = None) -> None:
        check_run(start, end, at_unix_ms)
        self.lowest = start
        self.highest = end
        self.first_unix_ms = self.last_unix_ms = at_unix_ms
        self.duplicates = self.late = self.recovered = self.forgotten = 0
        self.gaps: list[tuple[int, int, int]] = []
        if expected_first is not None:
            self.expect(expected_first, at_unix_ms)

    def add(self, start: int, end: int, at_unix_ms: int, reorder_window_ms: int = REORDER_WINDOW_MS) -> Runs:
        """Add the numbers `start`..`end`.

        Args:
            start, end: 0..2**32-1, inclusive.
            at_unix_ms: 0..2**53-1; may lie before that of the run before.
            reorder_window_ms: A gap older than this was a loss.
        Returns:
            The runs of it that had been seen already, ascending; () almost always.
        Raises:
            ValueError: a number is out of range; nothing has changed then.
        """
        highest = self.highest
        if start == highest + 1 and start <= end <= MAX_SEQ and 0 <= at_unix_ms <= MAX_UNIX_MS:
            self.highest = end
            self.last_unix_ms = at_unix_ms
            return _NONE
        check_run(start, end, at_unix_ms)
        self.last_unix_ms = at_unix_ms
        if start <= highest:
            return self._add_behind(start, end, at_unix_ms, reorder_window_ms)
        self.gaps.append((highest + 1, start - 1, at_unix_ms))
        self.highest = end
        self._keep_bound()
        return _NONE

    def expect(self, first: int, at_unix_ms: int) -> None:
        """Count the numbers from `first` to below the lowest as a gap, opened at `at_unix_ms`; else nothing changes."""
        check_run(first, first, at_unix_ms)
        if first < self.lowest:
            self._miss_below(first, at_unix_ms)
            self.lowest = first
            self._keep_bound()

    @property
    def count(self) -> int:
        """How many different numbers were seen."""
        return self.highest - self.lowest + 1 - self.forgotten - sum(end - start + 1 for start, end, _ in self.gaps)

    def contains(self, seq: int) -> bool:
        """Whether this number was seen (or forgotten)."""
        if not self.lowest <= seq <= self.highest:
            return False
        index = _first_gap_reaching(self.gaps, seq)
        return index == len(self.gaps) or self.gaps[index][0] > seq

    def runs(self) -> list[Run]:
        """The numbers seen (or forgotten), as ascending runs with gaps between them."""
        found = []
        begin = self.lowest
        for start, end, _ in self.gaps:
            if begin < start:
                found.append((begin, start - 1))
            begin = end + 1
        return [*found, (begin, self.highest)]

    def missing(self, now_unix_ms: int, reorder_window_ms: int = REORDER_WINDOW_MS) -> tuple[int, int]:
        """How many numbers are lost, the forgotten ones included, and how many may still come.

        The two and `count` together are always `highest - lowest + 1`.
        """
        lost, waiting = self.forgotten, 0
        for start, end, opened_unix_ms in self.gaps:
            if abs(now_unix_ms - opened_unix_ms) > reorder_window_ms:
                lost += end - start + 1
            else:
                waiting += end - start + 1
        return lost, waiting

    def missing_runs(self, now_unix_ms: int, reorder_window_ms: int = REORDER_WINDOW_MS) -> list[MissingRun]:
        """The gaps and their state, ascending; the forgotten numbers have no name any more and are not among them."""
        return [
            MissingRun(start, end, opened_unix_ms, abs(now_unix_ms - opened_unix_ms) > reorder_window_ms)
            for start, end, opened_unix_ms in self.gaps
        ]

    def pack(self) -> bytes:
        """Write the state: 59 bytes and 16 for each gap, in the form above."""
        gaps = self.gaps
        head = HEAD.pack(
            VERSION, self.lowest, self.highest, self.first_unix_ms, self.last_unix_ms,
            self.duplicates, self.late, self.recovered, self.forgotten, len(gaps),
        )  # fmt: skip
        return head + b"".join([GAP.pack(*gap) for gap in gaps]) if gaps else head

    @classmethod
    def unpack(cls, data: bytes) -> SeenNumbers:
        """Read a state that `pack`, or the Lua script of the Redis store, wrote.

        Raises:
            ValueError: it is none that a state could be in; names the fault.
        """
        if len(data) < HEAD.size:
            raise ValueError(f"ledger state of {len(data)} bytes; it has at least {HEAD.size}")
        seen = cls.__new__(cls)
        (
            version, seen.lowest, seen.highest, seen.first_unix_ms, seen.last_unix_ms,
            seen.duplicates, seen.late, seen.recovered, seen.forgotten, gap_count,
        ) = HEAD.unpack_from(data)  # fmt: skip
        if version != VERSION:
            raise ValueError(f"ledger state of version {version}; this motetrace reads version {VERSION}: upgrade it")
        if gap_count > MAX_GAPS or len(data) != HEAD.size + gap_count * GAP.size:
            raise ValueError(
                f"ledger state of {len(data)} bytes names {gap_count} gaps; "
                f"it has {HEAD.size} bytes and {GAP.size} for each of 0..{MAX_GAPS} gaps"
            )
        seen.gaps = list(GAP.iter_unpack(data[HEAD.size :])) if gap_count else []
        _check(seen)
        return seen

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeenNumbers) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Seen {self.lowest}..{self.highest}, {self.count} seen, {len(self.gaps)} gaps>"

    def _add_behind(self, start: int, end: int, at_unix_ms: int, reorder_window_ms: int) -> Runs:
        """Add a run that begins at or below the highest."""
        lowest, highest = self.lowest, self.highest
        again = _NONE
        if end >= lowest:
            again = self._fill(max(start, lowest), min(end, highest), at_unix_ms, reorder_window_ms)
        if start < lowest:
            if end < lowest - 1:
                self._miss_below(end + 1, at_unix_ms)
            self.late += min(end, lowest - 1) - start + 1
            self.lowest = start
        if end > highest:
            self.highest = end
        self._keep_bound()
        return again

    def _fill(self, start: int, end: int, at_unix_ms: int, reorder_window_ms: int) -> Runs:
        """Take `start`..`end`, all within lowest..highest, out of the gaps; the rest of it was seen already."""
        gaps = self.gaps
        begin = index = _first_gap_reaching(gaps, start)
        rest: list[tuple[int, int, int]] = []
        again = []
        next_seq = start
        while index < len(gaps) and gaps[index][0] <= end:
            gap_start, gap_end, opened_unix_ms = gaps[index]
            first, last = max(gap_start, start), min(gap_end, end)
            if next_seq < first:
                again.append((next_seq, first - 1))
            if gap_start < first:
                rest.append((gap_start, first - 1, opened_unix_ms))
            if last < gap_end:
                rest.append((last + 1, gap_end, opened_unix_ms))
            self.late += last - first + 1
            if abs(at_unix_ms - opened_unix_ms) > reorder_window_ms:
                self.recovered += last - first + 1
            next_seq = last + 1
            index += 1
        if next_seq <= end:
            again.append((next_seq, end))
        gaps[begin:index] = rest
        self.duplicates = min(self.duplicates + sum(last - first + 1 for first, last in again), MAX_COUNT)
        return tuple(again)

    def _miss_below(self, start: int, at_unix_ms: int) -> None:
        """Open a gap from `start` to below the lowest; one with a gap that begins there and was opened just now."""
        end = self.lowest - 1
        if self.gaps and self.gaps[0][0] == self.lowest and self.gaps[0][2] == at_unix_ms:
            end = self.gaps.pop(0)[1]
        self.gaps.insert(0, (start, end, at_unix_ms))

    def _keep_bound(self) -> None:
        """Close the lowest gap while there are too many."""
        while len(self.gaps) > MAX_GAPS:
            start, end, _ = self.gaps.pop(0)
            self.forgotten += end - start + 1


def _check(state: SeenNumbers) -> None:
    """Raise ValueError where the parts of an unpacked state contradict each other."""
    lowest, highest = state.lowest, state.highest
    if lowest > highest:
        raise ValueError(f"ledger state with lowest {lowest} above highest {highest}")
    missing, least = state.forgotten, lowest
    for start, end, opened_unix_ms in state.gaps:
        if not (least <= start <= end < highest and opened_unix_ms <= MAX_NUMBER):
            raise ValueError(
                f"ledger state with gap {start}..{end}, opened {opened_unix_ms}; "
                f"the numbers must ascend within {least}..{highest - 1}, the time within 0..{MAX_NUMBER}"
            )
        missing += end - start + 1
        least = end + 1
    if missing > highest - lowest:
        raise ValueError(
            f"ledger state in which {missing} of the numbers {lowest}..{highest} are missing; one was seen"
        )
    numbers = (state.first_unix_ms, state.last_unix_ms, state.duplicates, state.late, state.recovered)
    if max(numbers) > MAX_NUMBER or state.recovered > state.late:
        raise ValueError(
            f"ledger state with times {numbers[0]} and {numbers[1]}, {state.duplicates} duplicates, {state.late} late,"
            f" {state.recovered} recovered; each is 0..{MAX_NUMBER}, and recovered ones are late"
        )


def _first_gap_reaching(gaps: list[tuple[int, int, int]], seq: int) -> int:
    """The index of the first gap that ends at or above `seq`; `len(gaps)` when there is none."""
    index = bisect_left(gaps, (seq,))
    return index - 1 if index and gaps[index - 1][1] >= seq else index


def check_run(start: int, end: int, at_unix_ms: int) -> None:
    """Raise ValueError unless 0 <= start <= end < 2**32 and the time is 0..2**53-1; names the value and the range."""
    if not 0 <= start <= end <= MAX_SEQ:
        raise ValueError(f"run {start}..{end} is not ascending within 0..{MAX_SEQ}")
    if not 0 <= at_unix_ms <= MAX_UNIX_MS:
        raise ValueError(f"at_unix_ms {at_unix_ms} is outside 0..{MAX_UNIX_MS}")
