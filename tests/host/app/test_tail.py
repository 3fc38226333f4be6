"""The tail over real stores: messages wait on disk for their stages, and what is decided holds for all that follows."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.messages.message_spans import ShimIdentity
from motetrace_host.core.sampling.head import HeadSettings
from motetrace_host.core.sampling.tail.rules import TailRules
from motetrace_host.core.sampling.threshold import ALWAYS, NEVER
from motetrace_host.core.spans.span import SpanRow, Status
from motetrace_host.shim.span_outbox import SpanOutbox
from motetrace_host.shim.tail_sampler import TailSampler
from motetrace_host.storage import database
from motetrace_host.storage.span_store import SpanStore
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench
from tests.host.spans.proto_spans import pack
from tests.host.spans.span_samples import make_span

MakeBench = Callable[..., Bench]
SECOND = 10**9
NOTHING = HeadSettings(threshold=NEVER)


class Tail:
    """A shim's stores, a tail sampler and an outbox on them, and a clock that stands still."""

    def __init__(self, make_bench: MakeBench, sample: HeadSettings, **rules: object) -> None:
        self._make_bench = make_bench
        self._sample = sample
        self._rules = TailRules(wait_s=10, **rules)  # type: ignore[arg-type]
        self.now = NOW
        self.path = Path()
        self.targeted: set[str] = set()
        self.trace_ids: dict[int, bytes] = {}

    def receive(self, seqs: range, flags: str = "03") -> None:
        bench = self._make_bench(sample=self._sample)
        self.path = bench.path
        for seq in seqs:
            bench.send(1, ("seqref", f"0a01020304-{seq:08x}-{flags}"))
        assert bench.run()
        self.trace_ids = {entry.record.seq: entry.record.trace_id for entry in bench.messages()}

    def start(self) -> None:
        connection = database.connect(self.path)
        self.sampler = TailSampler(
            connection, SqliteLedger(connection), self._rules, self._sample.threshold,
            lambda device_id, trace_id, at: device_id in self.targeted, lambda: self.now,
        )  # fmt: skip
        self.outbox = SpanOutbox(database.connect(self.path), "backend", ShimIdentity("b:1", "shim"), self.sampler)
        self.outbox._horizon._now = lambda: self.now / SECOND

    def stage(self, seq: int, **of: object) -> SpanRow:
        """A stage's span arrives."""
        row = pack(make_span(trace_id=self.trace_ids[seq], name="db_write", **of))
        connection = database.connect(self.path)
        with database.transaction(connection):
            SpanStore(connection).insert([row])
        connection.close()
        self.sampler.traces.observe([row])
        return row

    def sent(self, settle: bool = True) -> list[tuple[str, int, str]]:
        """What goes out now: name, seq, reason of each span."""
        found = []
        for _ in range(20):
            count, upto, body = self.outbox.batch(1_000)
            if not count:
                break
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        told = {each.key: each.value.string_value for each in span.attributes}
                        seq = int.from_bytes(span.trace_id[5:9], "big")
                        found.append((span.name, seq, told.get("sampling.reason", "")))
            if not settle:
                break
            self.outbox.settle(upto, sent=count, refused=0)
        return found

    def devices(self) -> list[tuple[int, str]]:
        """Seq and reason of the device_publish spans that go out now."""
        return [(seq, reason) for name, seq, reason in self.sent() if name == "device_publish"]


@pytest.fixture
def make_tail(make_bench: MakeBench) -> Callable[..., Tail]:
    def make(sample: HeadSettings = NOTHING, **rules: object) -> Tail:
        return Tail(make_bench, sample, **rules)

    return make


def test_a_message_waits_for_its_stages_and_is_then_kept_for_what_they_told(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail(slow_ms=100)
    tail.receive(range(1, 6))
    tail.start()
    tail.stage(2, status=Status.ERROR)
    tail.stage(3, end_unix_ns=make_span().start_unix_ns + 200_000_000)
    tail.stage(4, attributes={"function.cold_start": True})
    tail.stage(5)
    assert tail.sent() == []
    tail.now += 10 * SECOND
    assert tail.devices() == [(2, "error"), (3, "slow"), (4, "cold_start")]
    tail.now += 60 * SECOND
    assert [seq for name, seq, _ in tail.sent() if name == "db_write"] == [2, 3, 4]
    assert tail.sampler.traces.summary()["spans_left_out"] == 1


def test_a_clock_that_is_set_back_holds_nothing_up(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 4))
    tail.start()
    tail.stage(2, status=Status.ERROR)
    tail.now = NOW - 600 * SECOND
    assert tail.devices() == [(2, "error")]


def test_what_the_head_kept_and_the_baseline_leaves_is_kept_under_the_heads_reason(
    make_tail: Callable[..., Tail],
) -> None:
    whole = make_tail(HeadSettings(threshold=ALWAYS))
    whole.receive(range(1, 4))
    whole.start()
    whole.now += 10 * SECOND
    assert whole.devices() == [(1, "rate"), (2, "rate"), (3, "rate")]


def test_a_baseline_thins_out_and_errors_stay(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail(HeadSettings(threshold=ALWAYS), baseline=NEVER)
    tail.receive(range(1, 4), flags="03")
    tail.start()
    tail.stage(2, status=Status.ERROR)
    tail.now += 10 * SECOND
    assert tail.devices() == [(2, "error")]


def test_spans_that_come_late_follow_the_verdict_also_after_a_restart(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 4))
    tail.start()
    tail.stage(1, status=Status.ERROR)
    tail.now += 10 * SECOND
    assert tail.devices() == [(1, "error")]
    tail.start()
    late = [tail.stage(seq, kind=make_span().kind) for seq in (1, 2)]
    tail.now += 5 * SECOND
    tail.sent()
    tail.now += 60 * SECOND
    assert [seq for name, seq, _ in tail.sent() if name == "db_write"] == [1, 1], "of 2 nothing was kept"
    assert len(late) == 2


def test_what_was_decided_and_not_sent_before_a_kill_is_decided_alike(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 4))
    tail.start()
    tail.stage(1, status=Status.ERROR)
    tail.now += 10 * SECOND
    assert [seq for _, seq, _ in tail.sent(settle=False)] == [1, 1]
    tail.start()  # what was known in memory is gone
    assert tail.devices() == [(1, "error")]


def test_an_error_heard_after_the_decision_revives_the_message_and_its_neighbours_once(
    make_tail: Callable[..., Tail],
) -> None:
    tail = make_tail(before=2, after=1)
    tail.receive(range(1, 9))
    tail.start()
    tail.now += 10 * SECOND
    assert tail.devices() == []
    tail.stage(5, status=Status.ERROR)
    assert sorted(tail.devices()) == [(3, "neighbour"), (4, "neighbour"), (5, "error"), (6, "neighbour")]
    tail.stage(5, status=Status.ERROR)
    assert tail.devices() == [], "what was revived is not sent again"


def test_a_revival_survives_a_kill(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 4))
    tail.start()
    tail.now += 10 * SECOND
    tail.sent()
    tail.stage(2, status=Status.ERROR)
    assert len(tail.sent(settle=False)) == 2
    tail.start()
    assert tail.devices() == [(2, "error")]


def test_messages_lost_behind_the_shim_are_kept_when_the_ledger_gives_them_up(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 11))
    tail.start()
    tail.now += 10 * SECOND
    assert tail.devices() == []
    connection = database.connect(tail.path)
    nonce, at_ms = bytes.fromhex("0a01020304"), tail.now // 1_000_000
    with database.transaction(connection):
        runs = [(1, 5), (7, 10)]
        SqliteLedger(connection).merge(1, [SeenRuns("", nonce, "rule", runs, at_ms)])
        SqliteLedger(connection).merge(2, [SeenRuns("", nonce, "db.failed", [(9, 9)], at_ms)])
    connection.close()
    tail.now += 6 * SECOND
    assert tail.devices() == [(9, "error")], "a gap may still close"
    tail.now += 10 * SECOND
    assert tail.devices() == [(6, "lost")]


def test_a_target_of_an_operator_is_kept(make_tail: Callable[..., Tail]) -> None:
    tail = make_tail()
    tail.receive(range(1, 3))
    tail.start()
    tail.targeted.add("s")
    tail.now += 10 * SECOND
    assert tail.devices() == [(1, "targeted"), (2, "targeted")]


def test_spans_whose_message_is_elsewhere_are_kept_by_the_same_odds_and_for_errors(
    make_tail: Callable[..., Tail],
) -> None:
    half = HeadSettings(threshold=2**55)
    tail = make_tail(half)
    tail.receive(range(1, 2))
    tail.start()
    chance = random.Random(7)
    for seq in range(1_000, 1_100):
        tail.trace_ids[seq] = bytes(4) + b"\x01" + seq.to_bytes(4, "big") + chance.randbytes(7)
        tail.stage(seq, status=Status.ERROR if seq % 10 == 0 else Status.UNSET)
    tail.sent()
    tail.now += 60 * SECOND
    kept = {seq for name, seq, _ in tail.sent() if name == "db_write"}
    for seq, trace_id in tail.trace_ids.items():
        if seq >= 1_000:
            assert (seq in kept) == (seq % 10 == 0 or int.from_bytes(trace_id[9:], "big") >= 2**55)
