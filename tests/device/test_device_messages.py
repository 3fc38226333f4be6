"""docs/device-messages.md against the code: every example to the byte, every member in its table, every reason."""

import json
import re
from pathlib import Path

import pytest

from motetrace import Tracer
from motetrace.boot import NAMES
from motetrace.messages import Stats, birth
from motetrace.sampling import Sampling, desired

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "device-messages.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```json\n(.*)\n```\n", PAGE))
NONCE = bytes.fromhex("5f3a9c0d21")


class Clock:
    """A board's clock: it wraps at 2**30."""

    now = 0

    def ticks_ms(self) -> int:
        return self.now & 0x3FFFFFFF

    def ticks_diff(self, a: int, b: int) -> int:
        return (a - b + 0x20000000 & 0x3FFFFFFF) - 0x20000000


def members(section: str) -> set[str]:
    """The names in the first table of a section."""
    text = PAGE.split(f"\n## {section}\n")[1]
    table = text.split("| member |")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def said(text: str) -> set[str]:
    """The names of the outermost members."""
    return set(json.loads(text))


@pytest.fixture
def tracer() -> Tracer:
    made = Tracer("seqref", 58982, clock=Clock())
    made.block[:5] = NONCE
    return made


def test_the_birth_example_is_what_the_code_makes(tracer: Tracer) -> None:
    baggage = {"deployment_site": "Kühlhaus 3", "line": 7}
    made = birth(tracer, "1.4.2", baggage, reset="watchdog", boot=412, expiry_s=60, clock=Clock())
    assert made.decode() == EXAMPLES["birth"]
    assert said(EXAMPLES["birth"]) == members("birth")


def test_the_stats_example_is_what_the_code_makes(tracer: Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        left_alone = 3

    class Gc:
        @staticmethod
        def mem_free() -> int:
            return 98304

    clock = Clock()
    monkeypatch.setattr("motetrace.messages.gc", Gc)
    stats = Stats(tracer, counters=((b"left_alone", Client, "left_alone"),), clock=clock)
    for seq in (7, 8, 9, 12):
        stats.failed.add(seq.to_bytes(4, "big"))
    tracer.block[5:9] = b"\xff\xff\xff\xff"
    for rtt_ms in (40, 18, *range(20, 328)):
        stats.arrived(rtt_ms)
    stats.lost = 2
    stats.published(77)
    clock.now = 86400123
    assert bytes(stats.build()).decode() == EXAMPLES["stats"]
    assert said(EXAMPLES["stats"]) - {"left_alone"} == members("stats")


def test_the_sampling_examples_are_what_the_code_reads_and_makes(tracer: Tracer) -> None:
    sampling = Sampling(tracer, Clock())
    sampling.desired(EXAMPLES["desired"].encode())
    assert bytes(sampling.reported()).decode() == EXAMPLES["reported"]
    assert said(EXAMPLES["desired"]) == members("sampling/desired")
    assert said(EXAMPLES["reported"]) == members("sampling/reported")


REASONS = {
    "size": b"x" * 257,
    "json": b"on",
    "nested": b'{"mode":[]}',
    "repeated": b'{"mode":"on","mode":"on"}',
    "mode": b"{}",
    "rate": b'{"mode":"on","rate":2}',
    "for_s": b'{"mode":"on","for_s":0.5}',
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_that_the_code_gives_is_in_the_table(reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        desired(REASONS[reason])
    assert f"\n| `{reason}` | " in PAGE


def test_the_table_of_reasons_has_no_other() -> None:
    table = PAGE.split("| reason |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(REASONS)


def test_every_name_of_a_reset_cause_is_listed() -> None:
    listed = PAGE.split("`reset` is one of ")[1].split(", on MicroPython")[0]
    assert tuple(re.findall(r"`(\w+)`", listed)) == NAMES
