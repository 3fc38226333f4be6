"""What the stages of this process saw since the last report, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from motetrace_host.core.ledger import runs as seq_runs
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.wire.hop_report import HOPS, OUTCOMES, Outcomes

MAX_RUNS: Final = 50_000  # each with a boot of its own, the worst case: 16 MB
MAX_STRANGERS: Final = 2_048
BATCH: Final = 256  # messages that are counted together
MAX_FAMILIAR: Final = 20_000


@dataclass(slots=True)
class HopCounts:
    """One hop since the last report: by outcome the runs of each boot (see core/ledger/runs), and what is in none."""

    seen: dict[bytes, list[int]] = field(default_factory=dict)
    filtered: dict[bytes, list[int]] = field(default_factory=dict)
    failed: dict[bytes, list[int]] = field(default_factory=dict)
    unnumbered: int = 0
    shed: int = 0

    def outcomes(self) -> Outcomes:
        """The runs as a report has them."""
        return {
            outcome: {nonce: seq_runs.pairs(runs) for nonce, runs in boots.items()}
            for outcome, boots in zip(OUTCOMES, (self.seen, self.filtered, self.failed), strict=True)
            if boots
        }


@dataclass(slots=True)
class _Stranger:
    """Who may be a foreign trace or a boot of ours that has got far: waits for a second number of the same boot."""

    seq: int
    counts: list[tuple[str, str]]


class HopTally:
    """Counts messages per hop, outcome and boot; for any number of threads.

    It waits for nothing but other counts, 0.2 ms at most.

    Args:
        max_runs: How many runs of numbers are kept, >= 2. What would need one more is shed, and counted as shed;
            numbers that go on where a run ends always fit.
        on_half_full: Called once per report, with the lock held: must only set a flag.
    """

    def __init__(self, max_runs: int = MAX_RUNS, on_half_full: Callable[[], object] = lambda: None) -> None:
        self._lock = threading.RLock()  # a signal handler may count while its own thread does
        self._max_runs = max_runs
        self._on_half_full = on_half_full
        self._inbox: deque[tuple[str, str, MessageNumber | None]] = deque()
        self._strangers: dict[bytes, _Stranger] = {}
        self._familiar: dict[bytes, None] = {}
        self._begin()

    def _begin(self) -> None:
        self._hops = {hop: HopCounts() for hop in HOPS}
        self._kept = 0
        self._empty = True

    def count(self, hop: str, outcome: str, number: MessageNumber | None) -> None:
        """Count one message.

        Args:
            hop: `rule`, `function` or `db`.
            outcome: `filtered`, `failed`, or `seen` when it went on.
            number: None when it carries none of ours.
        """
        inbox = self._inbox
        inbox.append((hop, outcome, number))  # atomic; a lock for each message costs more than all the counting
        if len(inbox) >= BATCH:
            with self._lock:
                self._fold()

    def drain(self) -> dict[str, HopCounts]:
        """Take what was counted, by hop, and begin anew; {} when nothing was."""
        with self._lock:
            self._fold()
            if self._empty:
                return {}
            counted = self._hops
            self._begin()
        return counted

    def give_up_strangers(self) -> None:
        """Count who still waits for a second number as unnumbered: this process ends."""
        with self._lock:
            self._fold()
            for nonce in list(self._strangers):
                self._give_up(nonce)

    def _fold(self) -> None:
        """Count what was put into the inbox, by whatever thread."""
        inbox = self._inbox
        while inbox:
            hop, outcome, number = inbox.popleft()
            self._empty = False
            counts = self._hops[hop]
            if number is None:
                counts.unnumbered += 1
                continue
            nonce, seq, is_certain = number
            if not is_certain and number.is_unlikely and nonce not in self._familiar:
                self._doubt(hop, outcome, number)
                continue
            runs = counts.seen.get(nonce)
            if runs is not None and runs[-1] + 1 == seq:  # nearly always, and then nothing else is called
                runs[-1] = seq
            else:
                self._put(counts, counts.seen, nonce, seq)
            if outcome != "seen":
                self._put(counts, counts.filtered if outcome == "filtered" else counts.failed, nonce, seq)

    def _add(self, hop: str, outcome: str, nonce: bytes, seq: int) -> None:
        counts = self._hops[hop]
        self._put(counts, counts.seen, nonce, seq)
        if outcome != "seen":
            self._put(counts, counts.filtered if outcome == "filtered" else counts.failed, nonce, seq)

    def _put(self, counts: HopCounts, boots: dict[bytes, list[int]], nonce: bytes, seq: int) -> None:
        runs = boots.get(nonce)
        if runs is None:
            if self._is_room(counts):
                boots[nonce] = [seq, seq]
        elif runs[-1] + 1 == seq:
            runs[-1] = seq
        elif runs[-1] != seq:
            grown = seq_runs.add(runs, seq)
            self._kept += grown
            if grown > 0 and self._kept > self._max_runs:
                self._take_back(runs, seq)
                counts.shed += 1

    def _is_room(self, counts: HopCounts) -> bool:
        if self._kept >= self._max_runs:
            counts.shed += 1
            return False
        self._kept += 1
        if self._kept == self._max_runs // 2:
            self._on_half_full()
        return True

    def _take_back(self, runs: list[int], seq: int) -> None:
        at = runs.index(seq)
        del runs[at : at + 2]
        self._kept -= 1

    def _doubt(self, hop: str, outcome: str, number: MessageNumber) -> None:
        nonce, seq, _ = number
        known = self._strangers.get(nonce)
        if known is None:
            if len(self._strangers) >= MAX_STRANGERS:
                self._give_up(next(iter(self._strangers)))
            self._strangers[nonce] = _Stranger(seq, [(hop, outcome)])
        elif known.seq == seq:
            if (hop, outcome) not in known.counts:  # one message in several stages settles nothing
                known.counts.append((hop, outcome))
        else:
            del self._strangers[nonce]
            if len(self._familiar) >= MAX_FAMILIAR:
                del self._familiar[next(iter(self._familiar))]
            self._familiar[nonce] = None
            for earlier in known.counts:
                self._add(*earlier, nonce, known.seq)
            self._add(hop, outcome, nonce, seq)

    def _give_up(self, nonce: bytes) -> None:
        self._empty = False
        for hop, _ in self._strangers.pop(nonce).counts:
            self._hops[hop].unnumbered += 1
