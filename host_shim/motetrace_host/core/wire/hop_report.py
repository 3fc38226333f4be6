"""The report of a hop: which messages a stage saw, and what became of them, as runs of numbers per boot."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from motetrace_host.core.ledger.runs import MAX_SEQ, Run, Runs
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.topics import is_topic_level
from motetrace_host.core.wire.side_message import SideMessage, cut

HOPS: Final = ("rule", "function", "db")
OUTCOMES: Final = ("seen", "filtered", "failed")
MAX_BYTES: Final = 32_768
MAX_NONCES: Final = 1_024
MAX_RUNS: Final = 2_048
MAX_NUMBER: Final = 2**53 - 1  # what a JSON number keeps exactly in every language
MAX_COUNT: Final = 2**32 - 1  # so that no sum of many reports leaves 64 bits
PROCESS_BYTES: Final = 8
_HEAD_BYTES: Final = 200  # all but the runs, at its longest
_NONCE_BYTES: Final = 16  # "0123456789":[],
_RUN_BYTES: Final = 4  # [,],
_PROCESS: Final = re.compile(r"[0-9a-f]{16}")

Outcomes = dict[str, dict[bytes, Runs]]


class _Wire(msgspec.Struct):
    v: int
    hop: str
    process: str
    number: int
    unnumbered: int = 0
    shed: int = 0
    seen: dict[str, list[tuple[int, int]]] = msgspec.field(default_factory=dict)
    filtered: dict[str, list[tuple[int, int]]] = msgspec.field(default_factory=dict)
    failed: dict[str, list[tuple[int, int]]] = msgspec.field(default_factory=dict)


_MESSAGE: Final = SideMessage(_Wire, "seen", "report", MAX_BYTES)


@dataclass(frozen=True, slots=True)
class HopReport:
    """What one process reports of one hop since its last report.

    Attributes:
        hop: `rule`, `function` or `db`.
        process: 8 random bytes, drawn at the start of the process (and of each fork of it).
        number: 1..2**53-1, counts this process's reports; one that comes again is the same report.
        outcomes: `seen` (every message), `filtered` and `failed` (those of them) to boot nonce to runs.
        unnumbered: Messages that carried no number of ours: foreign traces, answers to commands, no context;
            0..2**32-1.
        shed: Numbers that found no room in the process's memory; 0..2**32-1.
    """

    hop: str
    process: bytes
    number: int
    outcomes: Outcomes = field(default_factory=dict)
    unnumbered: int = 0
    shed: int = 0

    def seen_runs(self, received_unix_ms: int) -> list[SeenRuns]:
        """Give what the ledger is to add, one for each boot and outcome."""
        return [
            SeenRuns("", nonce, self.hop if outcome == "seen" else f"{self.hop}.{outcome}", runs, received_unix_ms)
            for outcome, boots in self.outcomes.items()
            for nonce, runs in boots.items()
        ]


def topic(prefix: str, reporter: str) -> str:
    """Give the topic that a process reports to.

    Args:
        prefix: Such as `motetrace/`.
        reporter: Name of the process, one topic level of 1..255 bytes in UTF-8.
    Raises:
        ValueError: the name breaks the rule.
    """
    if not is_topic_level(reporter):
        raise ValueError(
            f"reporter {reporter[:80]!r} must be 1..255 bytes in UTF-8 without '/', '+', '#' and NUL; "
            "name the service, such as 'rule-engine'"
        )
    return f"{prefix}{reporter}/seen"


def format(report: HopReport) -> bytes:
    """Write a report as JSON; outcomes without messages are left out.

    Raises:
        ValueError: more than 32,768 bytes: `split` its outcomes first.
    Source: docs/hop-reports.md, "The message".
    """
    wire: dict[str, object] = {"v": 1, "hop": report.hop, "process": report.process.hex(), "number": report.number}
    if report.unnumbered:
        wire["unnumbered"] = report.unnumbered
    if report.shed:
        wire["shed"] = report.shed
    for outcome, boots in report.outcomes.items():
        if boots:
            wire[outcome] = {nonce.hex(): runs for nonce, runs in boots.items()}
    payload = msgspec.json.encode(wire)
    if len(payload) > MAX_BYTES:
        raise ValueError(f"report has {len(payload)} bytes; at most {MAX_BYTES}: split its outcomes")
    return payload


def split(outcomes: Mapping[str, Mapping[bytes, Runs]]) -> Iterator[Outcomes]:
    """Distribute runs over as few reports as the bounds allow, in the order given; none without any run."""
    part: Outcomes = {}
    room, nonces, free = MAX_BYTES - _HEAD_BYTES, MAX_NONCES, MAX_RUNS
    for outcome, boots in outcomes.items():
        for nonce, runs in boots.items():
            at = 0
            while at < len(runs):
                fit = _fit(runs, at, min(room - _NONCE_BYTES, MAX_BYTES), free if nonces else 0)
                if fit == at:
                    yield part
                    part = {}
                    room, nonces, free = MAX_BYTES - _HEAD_BYTES, MAX_NONCES, MAX_RUNS
                    continue
                part.setdefault(outcome, {})[nonce] = runs[at:fit]
                room -= _NONCE_BYTES + sum(map(_run_bytes, runs[at:fit]))
                nonces, free, at = nonces - 1, free - (fit - at), fit
    if part:
        yield part


def _fit(runs: Runs, at: int, room: int, free: int) -> int:
    """Up to which run there is room."""
    while at < len(runs) and free and room >= _run_bytes(runs[at]):
        room -= _run_bytes(runs[at])
        free -= 1
        at += 1
    return at


def _run_bytes(run: tuple[int, int]) -> int:
    return len(str(run[0])) + len(str(run[1])) + _RUN_BYTES


def parse(payload: bytes) -> HopReport:
    """Read a report, a JSON object of at most 32,768 bytes; unknown members are ignored.

    Raises:
        WireError: `seen_size`, `seen_format`, `seen_version`, `seen_hop` (not one of `HOPS`), `seen_process` (not 16
            lower-case hex digits), `seen_count` (a number out of range), `seen_nonce`, `seen_bounds` (more than 1,024
            nonces or 2,048 runs), `seen_runs` (a run outside 0..2**32-1, or not rising).
    Source: docs/hop-reports.md, "The message".
    """
    wire = _MESSAGE.read(payload)
    if wire.hop not in HOPS:
        raise _MESSAGE.fault("hop", f"has hop {wire.hop[:20]!r}, not one of {', '.join(HOPS)}")
    if not _PROCESS.fullmatch(wire.process):
        raise _MESSAGE.fault("process", f"has process {wire.process[:20]!r}, which is not 16 lower-case hex digits")
    _check_counts(wire)
    outcomes = {}
    for outcome, boots in (("seen", wire.seen), ("filtered", wire.filtered), ("failed", wire.failed)):
        if boots:
            outcomes[outcome] = {_MESSAGE.nonce(nonce): _runs(runs) for nonce, runs in boots.items()}
    return HopReport(wire.hop, unhexlify(wire.process), wire.number, outcomes, wire.unnumbered, wire.shed)


def _check_counts(wire: _Wire) -> None:
    for name, value, lowest, highest in (
        ("number", wire.number, 1, MAX_NUMBER),
        ("unnumbered", wire.unnumbered, 0, MAX_COUNT),
        ("shed", wire.shed, 0, MAX_COUNT),
    ):
        if not lowest <= value <= highest:
            raise _MESSAGE.fault("count", f"has {name} {cut(value)}, outside {lowest}..{highest}")
    boots = [runs for by_nonce in (wire.seen, wire.filtered, wire.failed) for runs in by_nonce.values()]
    if len(boots) > MAX_NONCES or sum(map(len, boots)) > MAX_RUNS:
        raise _MESSAGE.fault(
            "bounds", f"has {len(boots)} nonces; at most {MAX_NONCES}, and {MAX_RUNS} runs in all: split it"
        )


def _runs(runs: list[Run]) -> Runs:
    above = -1
    for start, end in runs:
        if not above < start <= end <= MAX_SEQ:
            text = f"has run {cut(start)}..{cut(end)}, not within {above + 1}..2**32-1; runs rise and do not overlap"
            raise _MESSAGE.fault("runs", text)
        above = end
    if not runs:
        raise _MESSAGE.fault("runs", "names a nonce without runs; leave it out")
    return tuple(runs)
