"""The ledger said slowly and obviously: every number has its own entry, nothing is an interval."""

from __future__ import annotations

from motetrace_host.core.ledger.seen_numbers import MAX_GAPS, REORDER_WINDOW_MS, SeenNumbers


class Oracle:
    """What `SeenNumbers` promises, with a set of the numbers seen and the time at which each was first missed."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.missed: dict[int, int] = {}
        self.forgotten: set[int] = set()
        self.duplicates = self.late = self.recovered = 0
        self.times: list[int] = []

    def add(self, start: int, end: int, at: int, window: int = REORDER_WINDOW_MS) -> list[int]:
        """Add the numbers one by one; returns those seen before."""
        self.times.append(at)
        # "Below the highest" and "between" mean before this run: its numbers came together.
        low, high = self.bounds() if self.known() else (start, start - 1)
        again = []
        for seq in range(start, end + 1):
            if seq in self.seen or seq in self.forgotten:
                again.append(seq)
                continue
            opened = self.missed.pop(seq, None)
            self.seen.add(seq)
            self.late += seq < high
            self.recovered += opened is not None and abs(at - opened) > window
        for seq in [*range(high + 1, start), *range(end + 1, low)]:
            self.missed[seq] = at
        self.duplicates += len(again)
        self._forget()
        return again

    def expect(self, first: int, at: int) -> None:
        for seq in range(first, self.bounds()[0]):
            self.missed[seq] = at
        self._forget()

    def known(self) -> set[int]:
        return self.seen | self.missed.keys() | self.forgotten

    def bounds(self) -> tuple[int, int]:
        return min(self.known()), max(self.known())

    def gaps(self) -> list[tuple[int, int, int]]:
        """Neighbours that were missed by the same arrival."""
        found: list[tuple[int, int, int]] = []
        for seq, at in sorted(self.missed.items()):
            if found and found[-1][1:] == (seq - 1, at):
                found[-1] = (found[-1][0], seq, at)
            else:
                found.append((seq, seq, at))
        return found

    def _forget(self) -> None:
        for start, end, _ in self.gaps()[:-MAX_GAPS]:
            for seq in range(start, end + 1):
                del self.missed[seq]
                self.forgotten.add(seq)

    def missing(self, now: int, window: int = REORDER_WINDOW_MS) -> tuple[int, int]:
        lost = sum(abs(now - at) > window for at in self.missed.values())
        return lost + len(self.forgotten), len(self.missed) - lost

    def assert_equals(self, seen: SeenNumbers) -> None:
        assert (seen.lowest, seen.highest) == self.bounds()
        assert seen.count == len(self.seen)
        assert (seen.first_unix_ms, seen.last_unix_ms) == (self.times[0], self.times[-1])
        assert (seen.duplicates, seen.late, seen.recovered) == (self.duplicates, self.late, self.recovered)
        assert seen.forgotten == len(self.forgotten)
        assert seen.gaps == self.gaps()
        assert {seq for start, end in seen.runs() for seq in range(start, end + 1)} == self.seen | self.forgotten
