"""The comparison of the devices' own count with everybody else's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from tests.soak import carriage
from tests.soak.book import BootSpans, SpanBook
from tests.soak.boot import Boot
from tests.soak.evidence import Key, LedgerEvidence, LogEvidence


class Row(NamedTuple):
    """A line of the table; `wanted` None: for information."""

    what: str
    number: int
    wanted: int | None = None

    @property
    def good(self) -> bool:
        """As wanted."""
        return self.wanted is None or self.number == self.wanted


class Verdict:
    """Goes through every number of every boot.

    Attributes:
        counts: by what is counted. findings: the first of each sort that must not be, in words.
    """

    def __init__(self, boots: Sequence[Boot], ledger: LedgerEvidence, log: LogEvidence, book: SpanBook) -> None:
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._found: dict[tuple[str, Boot], list[int]] = {}
        self._ledger = ledger
        self._log = log
        self._book = book
        self._named: set[Key] = set()
        for boot in boots:
            self._judge(boot)
        for (name, boot), numbers in self._found.items():
            self.findings += [_told(name, boot, *run) for run in _runs(numbers)]
        self._strangers()

    def rows(self) -> list[Row]:
        """The part of the table that compares."""
        counts = self.counts
        return [
            Row("acknowledged to devices", counts["acked"]),
            Row("in the ledger", self._ledger.total),
            Row("  acknowledged, not in the ledger", counts["missing"], 0),
            Row("  sent, never acknowledged, arrived all the same", counts["unasked"]),
            Row("  in the ledger, never sent", counts["never sent"], 0),
            Row("  numbers whose gap was forgotten", self._ledger.forgotten, 0),
            Row("sent and never acknowledged, in all", counts["sent"] - counts["acked"]),
            Row("in the message log", self._log.total, self._ledger.total),
            Row("  in the ledger, not in the log", counts["only in ledger"], 0),
            Row("  in the log, not in the ledger", counts["only in log"], 0),
            Row("  more than once in the log", counts["twice"], 0),
            Row("boots inferred beyond the real ones", counts["inferred"], 0),
            Row("spans at the backend, different ones", self._book.spans, 2 * self._log.total),
            Row("  messages without both of their spans", counts["spanless"], 0),
            Row("  spans with ids that the device did not send", counts["foreign ids"], 0),
            Row("  spans of messages that are in no log", counts["spans of none"], 0),
            Row("  third spans, second traces, unknown names", len(self._book.faults), 0),
            Row("  sent again", self._book.repeats),
            Row("  refused by the backend (500)", self._book.refused),
        ]

    def _judge(self, boot: Boot) -> None:
        keys = self._keys(boot)
        self._named.update(keys)
        ledger = _merged(self._ledger.numbers.get(key, b"") for key in keys)
        log = _merged(self._log.numbers.get(key, b"") for key in keys)
        spans = [self._book.boots[nonce] for _, nonce in keys if nonce in self._book.boots]
        self.counts["acked"] += boot.acked
        self.counts["sent"] += boot.sent
        for seq, (in_ledger, in_log) in enumerate(zip_longest(ledger, log, fillvalue=0)):
            if in_ledger or in_log:
                self._judge_found(boot, seq, in_ledger, in_log, spans)
        for seq in range(1, boot.sent + 1):
            if boot.acked_at[seq - 1] and not (seq < len(ledger) and ledger[seq]):
                self._find("missing", boot, seq)

    def _judge_found(self, boot: Boot, seq: int, in_ledger: int, in_log: int, spans: list[BootSpans]) -> None:
        if not 0 < seq <= boot.sent:
            self._find("never sent", boot, seq)
            return
        self.counts["unasked"] += not boot.is_acked(seq)
        if in_log > 1:
            self._find("twice", boot, seq)
        if bool(in_ledger) != bool(in_log):
            self._find("only in ledger" if in_ledger else "only in log", boot, seq)
        if in_log:
            self._judge_spans(boot, seq, spans)

    def _judge_spans(self, boot: Boot, seq: int, spans: list[BootSpans]) -> None:
        found = [one for one in (of.of(seq) for of in spans) if any(one)]
        if len(found) != 1 or not all(found[0]):
            self._find("spanless", boot, seq)
        elif boot.kind in carriage.MAKES_TRACE_IDS:
            sent = int.from_bytes(boot.trace_id(seq)[9:], "big") | 1 << 56, int.from_bytes(boot.parent_id(seq), "big")
            if found[0][:2] != sent:
                self._find("foreign ids", boot, seq)

    def _keys(self, boot: Boot) -> list[Key]:
        """Under which names a boot is known: its own, or those that were made up for a bare seq."""
        if boot.kind != carriage.BARE:
            return [(boot.device_id, boot.nonce)]
        keys = [key for key in self._ledger.numbers.keys() | self._log.numbers.keys() if key[0] == boot.device_id]
        self.counts["inferred"] += len(keys) - 1 if boot.sent else len(keys)
        return keys

    def _strangers(self) -> None:
        """What belongs to no boot there ever was."""
        for name, numbers in (("never sent", self._ledger.numbers), ("only in log", self._log.numbers)):
            for key in numbers.keys() - self._named:
                self.counts[name] += sum(numbers[key])
                self.findings.append(f"{name}: {sum(numbers[key])} messages of {key[0]}, boot {key[1].hex()}")
        known = {nonce: numbers for (_, nonce), numbers in self._log.numbers.items()}
        for nonce, spans in self._book.boots.items():
            numbers = known.get(nonce, bytearray())
            for seq in range(1, len(spans.words) // 3 + 1):
                if any(spans.of(seq)) and not (seq < len(numbers) and numbers[seq]):
                    self.counts["spans of none"] += 1
                    self.findings.append(f"spans of none: boot {nonce.hex()} seq {seq}")

    def _find(self, name: str, boot: Boot, seq: int) -> None:
        self.counts[name] += 1
        self._found.setdefault((name, boot), []).append(seq)


def missing(boots: Sequence[Boot], ledger: LedgerEvidence) -> int:
    """How many acknowledged messages of devices with a nonce the ledger has not (yet)."""
    count = 0
    for boot in boots:
        keys = [key for key in ledger.numbers if key[0] == boot.device_id]
        if boot.kind != carriage.BARE:
            keys = [(boot.device_id, boot.nonce)]
        seen = _merged(ledger.numbers.get(key, b"") for key in keys)
        count += boot.acked - sum(
            1 for seq in range(1, min(len(seen), boot.sent + 1)) if seen[seq] and boot.is_acked(seq)
        )
    return count


def _merged(of: Iterable[bytes | bytearray]) -> bytes | bytearray:
    """The sums by number; almost always there is one."""
    parts = list(of)
    if len(parts) == 1:
        return parts[0]
    return bytearray(sum(numbers) for numbers in zip_longest(*parts, fillvalue=0))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each stretch without a hole."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        begin = runs.pop()[0] if runs and runs[-1][1] == number - 1 else number
        runs.append((begin, number))
    return runs


def _told(name: str, boot: Boot, first: int, last: int) -> str:
    acked = [boot.acked_at[seq - 1] for seq in range(max(first, 1), min(last, boot.sent) + 1) if boot.is_acked(seq)]
    when = f"{len(acked)} acknowledged at {min(acked):.2f} .. {max(acked):.2f} s" if acked else "never acknowledged"
    return f"{name}: {boot.device_id} boot {boot.nonce.hex()} seq {first} .. {last} of {boot.sent}, {when}"
