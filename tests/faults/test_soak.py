"""A short soak in the suite, and that its verdict finds what it is there to find."""

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.ledger.store import SeenRow
from tests.soak import schedule
from tests.soak.book import SpanBook
from tests.soak.boot import Boot
from tests.soak.evidence import LedgerEvidence, LogEvidence
from tests.soak.soak import Settings, Soak
from tests.soak.verdict import Verdict

CHANCE = random.randrange(10**6)


@pytest.mark.timeout(500)  # each takes 30 to 60 s on an idle machine
@pytest.mark.parametrize(
    ("seed", "options", "command"),
    [
        (7, {}, ""),
        (CHANCE, {"bare": True}, "--bare"),
        (CHANCE, {"ledger": "redis", "shims": 3, "per_second": 800}, "--ledger redis --shims 3"),
    ],
    ids=["a fixed seed", "another seed each time, bare numbers too", "three shims on one ledger"],
)
def test_what_devices_were_acknowledged_is_what_the_ledger_has_whatever_breaks(
    seed: int, options: dict[str, object], command: str, tmp_path: Path
) -> None:
    print(f"seed {seed}; longer: python -m tests.soak --minutes 10 --seed {seed} {command}")
    settings = Settings(seed, 25, tmp_path, **{"devices": 28, "per_second": 1000, "pace": 0.4, **options})
    with Soak(settings) as soak:
        assert soak.run(), f"seed {seed}: see the table"


class Account:
    """A boot of three messages, acknowledged and found everywhere, to be spoilt."""

    def __init__(self) -> None:
        self.boot = Boot("tp-1", "traceparent", random.Random(1))
        self.ledger: list[tuple[int, int]] = [(1, 3)]
        self.log = LogEvidence([], "")
        self.book = SpanBook()
        for _ in range(3):
            seq = self.boot.next()
            self.boot.acknowledged(seq, 1.0)
            self.logged(seq)
            self.sent(seq, self.boot.parent_id(seq), "device_publish")
            self.sent(seq, bytes((1, *bytes(6), seq)), "broker_forward")

    def logged(self, seq: int) -> None:
        self.log.count(("tp-1", self.boot.nonce), seq)

    def sent(self, seq: int, span_id: bytes, name: str) -> None:
        self.book.enter(self.boot.trace_id(seq), span_id, name)

    def wrong(self) -> list[str]:
        (start, end), *more = self.ledger
        seen = SeenNumbers(start, end, 0)
        for run in more:
            seen.add(*run, 0)
        ledger = LedgerEvidence([SeenRow("tp-1", self.boot.nonce, "shim", seen)])
        rows = Verdict([self.boot], ledger, self.log, self.book).rows()
        return [row.what.strip() for row in rows if not row.good]


@pytest.fixture
def account() -> Iterator[Account]:
    made = Account()
    assert made.wrong() == []
    return made


def test_the_verdict_finds_an_acknowledged_message_that_is_not_in_the_ledger(account: Account) -> None:
    account.ledger = [(1, 1), (3, 3)]
    assert "acknowledged, not in the ledger" in account.wrong()
    assert "in the log, not in the ledger" in account.wrong()


def test_the_verdict_lets_a_message_arrive_that_was_never_acknowledged_and_none_that_was_never_sent(
    account: Account,
) -> None:
    account.boot.next()
    assert account.wrong() == []
    account.ledger = [(1, 4)]
    account.logged(4)
    account.sent(4, account.boot.parent_id(4), "device_publish")
    account.sent(4, bytes((1, *bytes(6), 4)), "broker_forward")
    assert account.wrong() == []
    account.ledger = [(1, 5)]
    account.logged(5)
    assert "in the ledger, never sent" in account.wrong()


def test_the_verdict_finds_a_message_that_was_counted_twice(account: Account) -> None:
    account.logged(2)
    assert "more than once in the log" in account.wrong()


def test_the_verdict_finds_a_message_that_is_counted_and_not_kept(account: Account) -> None:
    account.ledger = [(1, 4)]
    account.boot.next()
    assert "in the ledger, not in the log" in account.wrong()


def test_the_verdict_finds_a_missing_a_third_and_a_foreign_span(account: Account) -> None:
    account.boot.next()
    account.ledger = [(1, 4)]
    account.logged(4)
    account.sent(4, b"\1" * 8, "device_publish")
    assert "messages without both of their spans" in account.wrong()
    account.sent(4, b"\2" * 8, "broker_forward")
    assert account.wrong() == ["spans with ids that the device did not send"]
    account.sent(1, b"\3" * 8, "broker_forward")
    assert "third spans, second traces, unknown names" in account.wrong()


def test_the_verdict_finds_spans_of_a_message_that_nobody_has(account: Account) -> None:
    account.sent(9, b"\1" * 8, "device_publish")
    assert "spans of messages that are in no log" in account.wrong()


def test_a_plan_is_the_seeds_alone_and_one_target_suffers_one_thing_at_a_time() -> None:
    targets = ["shim 0", "shim 1", "broker", "redis", "backend", "disk 0", "clock 0"]
    plan = schedule.draw(5, 300, targets)
    assert plan == schedule.draw(5, 300, targets)
    assert plan != schedule.draw(6, 300, targets)
    for target in targets:
        own = [fault for fault in plan if fault.target == target]
        assert {fault.kind for fault in own} == {kind.name for kind in schedule.PLAGUES[target.split()[0]].kinds}
        assert all(one.at_s + one.length_s <= other.at_s for one, other in pairwise(own))
    assert not [fault for fault in schedule.draw(5, 300, ["broker"], bare=True) if fault.kind == "kill -9"]
