"""The report as bytes: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.errors import WireError
from motetrace_host.core.ledger import runs as seq_runs
from motetrace_host.core.wire import hop_report
from motetrace_host.core.wire.hop_report import MAX_BYTES, MAX_NONCES, MAX_RUNS, HopReport, Outcomes, SeenRuns

DOC = Path(__file__).parents[3] / "docs/hop-reports.md"
NONCE = bytes.fromhex("5f3a9c0d21")
PROCESS = bytes.fromhex("8d1f00c2a94e7b36")
EXAMPLE = HopReport(
    "rule",
    PROCESS,
    7,
    {
        "seen": {NONCE: ((1, 40), (42, 42)), bytes.fromhex("b1990a4477"): ((4294967290, 4294967295),)},
        "filtered": {NONCE: ((12, 14),)},
        "failed": {NONCE: ((42, 42),)},
    },
    unnumbered=3,
)


def as_runs(numbers: set[int]) -> tuple[tuple[int, int], ...]:
    runs: list[int] = []
    for number in numbers:
        seq_runs.add(runs, number)
    return seq_runs.pairs(runs)


numbers = st.one_of(st.integers(0, 60), st.integers(2**32 - 60, 2**32 - 1))
boots = st.dictionaries(st.binary(min_size=5, max_size=5), st.sets(numbers, min_size=1).map(as_runs), max_size=6)
outcomes = st.fixed_dictionaries({}, optional={"seen": boots, "filtered": boots, "failed": boots}).map(
    lambda found: {outcome: by_nonce for outcome, by_nonce in found.items() if by_nonce}
)
reports = st.builds(
    HopReport,
    st.sampled_from(hop_report.HOPS),
    st.binary(min_size=8, max_size=8),
    st.integers(1, 2**53 - 1),
    outcomes,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)


@given(reports)
def test_what_is_written_is_read_back(report: HopReport) -> None:
    assert hop_report.parse(hop_report.format(report)) == report


def test_the_example_in_the_docs_is_what_is_written() -> None:
    example = re.search(r"```json\n(.*)\n```", DOC.read_text(encoding="utf-8"))
    assert example is not None
    assert hop_report.format(EXAMPLE).decode() == example[1]


def test_the_deltas_name_hop_and_outcome_and_no_device() -> None:
    assert EXAMPLE.seen_runs(1_795_000_000_000) == [
        SeenRuns("", NONCE, "rule", ((1, 40), (42, 42)), 1_795_000_000_000),
        SeenRuns("", bytes.fromhex("b1990a4477"), "rule", ((4294967290, 4294967295),), 1_795_000_000_000),
        SeenRuns("", NONCE, "rule.filtered", ((12, 14),), 1_795_000_000_000),
        SeenRuns("", NONCE, "rule.failed", ((42, 42),), 1_795_000_000_000),
    ]


def rejoined(parts: list[Outcomes]) -> dict[str, dict[bytes, tuple[tuple[int, int], ...]]]:
    whole: dict[str, dict[bytes, tuple[tuple[int, int], ...]]] = {}
    for part in parts:
        for outcome, by_nonce in part.items():
            for nonce, runs in by_nonce.items():
                found = whole.setdefault(outcome, {})
                found[nonce] = found.get(nonce, ()) + runs
    return whole


SPREAD = tuple((n, n) for n in range(0, 40_000, 2))
LARGE = tuple((n, n) for n in range(4_000_000_000, 4_000_010_000, 2))


@pytest.mark.parametrize(
    "whole",
    [
        {"seen": {n.to_bytes(5, "big"): ((1, 9),) for n in range(10_000)}},
        {"seen": {NONCE: SPREAD}, "failed": {NONCE: LARGE}},
        {"seen": {n.to_bytes(5, "big"): LARGE[: n % 700 + 1] for n in range(300)}, "filtered": {NONCE: ((1, 1),)}},
    ],
    ids=["many boots", "many runs of one boot", "both"],
)
def test_what_is_too_much_for_one_report_is_split_within_the_bounds(whole: Outcomes) -> None:
    parts = list(hop_report.split(whole))
    assert rejoined(parts) == whole
    sizes = []
    for number, part in enumerate(parts, 1):
        payload = hop_report.format(HopReport("function", PROCESS, number, part, 2**32 - 1, 2**32 - 1))
        assert hop_report.parse(payload).outcomes == part
        sizes.append(len(payload))
        runs = [found for by_nonce in part.values() for found in by_nonce.values()]
        assert len(runs) <= MAX_NONCES and sum(map(len, runs)) <= MAX_RUNS
    assert len(sizes) > 2 and max(sizes) <= MAX_BYTES


@given(outcomes)
def test_what_fits_into_one_report_is_one(whole: Outcomes) -> None:
    assert list(hop_report.split(whole)) == ([whole] if whole else [])


def test_a_report_beyond_the_bound_is_never_written() -> None:
    with pytest.raises(ValueError, match=r"split"):
        hop_report.format(HopReport("rule", PROCESS, 1, {"seen": {NONCE: SPREAD}}))


def changed(**members: object) -> bytes:
    wire = json.loads(hop_report.format(EXAMPLE)) | members
    return json.dumps({name: value for name, value in wire.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * (MAX_BYTES + 1), "seen_size"),
        (b"", "seen_format"),
        (b"[" * 30_000, "seen_format"),
        (b'{"v":1}', "seen_format"),
        (changed(seen={"5f3a9c0d21": [[1, "2"]]}), "seen_format"),
        (changed(seen={"5f3a9c0d21": [[1, 2, 3]]}), "seen_format"),
        (changed(number=...), "seen_format"),
        (changed(v=2), "seen_version"),
        (changed(hop="shim"), "seen_hop"),
        (changed(process="8d1f00c2a94e7b3"), "seen_process"),
        (changed(process="8D1F00C2A94E7B36"), "seen_process"),
        (changed(process="8d1f00c2a94e7b36\n"), "seen_process"),
        (changed(number=0), "seen_count"),
        (changed(number=2**53), "seen_count"),
        (changed(unnumbered=-1), "seen_count"),
        (changed(shed=10**30), "seen_count"),
        (changed(seen={"5f3a9c0d2": [[1, 2]]}), "seen_nonce"),
        (changed(seen={"5F3A9C0D21": [[1, 2]]}), "seen_nonce"),
        (changed(failed={"５f3a9c0d21": [[1, 2]]}), "seen_nonce"),
        (changed(seen={"5f3a9c0d21": []}), "seen_runs"),
        (changed(seen={"5f3a9c0d21": [[2, 1]]}), "seen_runs"),
        (changed(seen={"5f3a9c0d21": [[-1, 1]]}), "seen_runs"),
        (changed(seen={"5f3a9c0d21": [[1, 2**32]]}), "seen_runs"),
        (changed(seen={"5f3a9c0d21": [[1, 5], [5, 6]]}), "seen_runs"),
        (changed(seen={"5f3a9c0d21": [[4, 5], [1, 2]]}), "seen_runs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        hop_report.parse(payload)
    assert refused.value.reason == reason
    assert len(str(refused.value)) < 400 and str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("boots", "runs"), [(MAX_NONCES + 1, 1), (MAX_RUNS // 8 + 1, 8)], ids=["too many boots", "too many runs"]
)
def test_a_small_report_may_not_hold_too_much_either(boots: int, runs: int) -> None:
    seen = {f"{boot:010x}": [[n, n] for n in range(runs)] for boot in range(boots)}
    wire = {"v": 1, "hop": "db", "process": "0" * 16, "number": 1, "seen": seen}
    payload = json.dumps(wire, separators=(",", ":")).encode()
    assert len(payload) < MAX_BYTES
    with pytest.raises(WireError) as refused:
        hop_report.parse(payload)
    assert refused.value.reason == "seen_bounds"


def test_members_that_nobody_knows_are_passed_over() -> None:
    assert hop_report.parse(changed(later=[{"x": 1}])) == EXAMPLE


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise_anything_else(payload: bytes) -> None:
    with pytest.raises(WireError):
        hop_report.parse(payload)


@given(reports, st.data())
def test_no_damage_makes_the_reader_raise_anything_else(report: HopReport, data: st.DataObject) -> None:
    payload = bytearray(hop_report.format(report))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        hop_report.format(hop_report.parse(bytes(payload)))
    except WireError as error:
        assert error.reason.startswith("seen_")


@pytest.mark.parametrize("name", ["", "a/b", "+", "x#", "a\0", "\ud800", "x" * 256])
def test_a_reporter_is_one_topic_level(name: str) -> None:
    with pytest.raises(ValueError, match=r"1\.\.255"):
        hop_report.topic("motetrace/", name)
    assert hop_report.topic("motetrace/", "store-function") == "motetrace/store-function/seen"
