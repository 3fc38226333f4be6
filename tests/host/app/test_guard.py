"""A message that breaks whatever reads it, on either way, costs itself alone: counted, acknowledged, passed over."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from motetrace_host.core.ledger import inferred_boots
from motetrace_host.core.messages import fast_path, message, record
from motetrace_host.core.messages.derived_ids import Deriver
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Chunk
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.core.mqtt.topics import TopicTemplate
from motetrace_host.core.sampling import ot_member
from motetrace_host.core.sampling.head import HeadSampler, HeadSettings
from motetrace_host.core.wire import birth, context, device_stats, hop_report
from motetrace_host.core.wire.trust import TrustRules
from motetrace_host.shim import fast_path as short_way
from motetrace_host.shim.bare_seq import BareSeq
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.births import Births
from motetrace_host.shim.boot_runs import BootRuns
from motetrace_host.shim.clones import CloneWatch
from motetrace_host.shim.command_replies import CommandReplies
from motetrace_host.shim.device_stats import DeviceStatistics
from motetrace_host.shim.device_topics import DeviceTopic, DeviceTopics, TopicRules
from motetrace_host.shim.hop_reports import HopReports
from motetrace_host.shim.identifier import Identifier
from motetrace_host.shim.nonces import Nonces
from motetrace_host.shim.sampling_plans import SamplingPlans
from motetrace_host.shim.sampling_topics import ReportedTopic
from motetrace_host.shim.slow_path import SlowPath
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench, publish_frame

MakeBench = Callable[..., Bench]
OLD, NEW, OTHER = "0a01020304", "0b01020304", "0c01020304"
TEMPLATES = ("devices/{device_id}/telemetry", "other/{device_id}/telemetry")
LONG = ("x", "y")  # a second property: not of the shape that the short way reads


class BrokenError(RuntimeError):
    """What no one thought of."""


class Breaker(list[Frame]):
    """The frames of a chunk; what `breaks` was given raises while the one at `at` is read."""

    def __init__(self, frames: list[Frame], at: int) -> None:
        super().__init__(frames)
        self._at = at
        self._armed = False
        self.raised = 0

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(super().__iter__()):
            self._armed = number == self._at
            yield frame
        self._armed = False

    def breaks(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._armed:
                self.raised += 1
                raise BrokenError("broken")
            return real(*arguments, **named)

        return call


def frame(packet_id: int, *pairs: tuple[str, str], topic: str = "other/s/telemetry", payload: bytes = b"x") -> Frame:
    return publish_frame(topic, packet_id, 1, False, False, payload, pairs)


def seqref(seq: int, boot: str = NEW) -> tuple[str, str]:
    return "seqref", f"{boot}-{seq:08x}-03"


def around(broken: Frame) -> Breaker:
    """A message of the same device and one of another before and behind it, the first of them on another topic."""
    before = [
        frame(1, seqref(1, OLD), topic="devices/s/telemetry"),
        frame(2, seqref(1, OTHER), topic="devices/t/telemetry"),
    ]
    behind = [frame(4, seqref(2)), frame(5, LONG, seqref(3)), frame(6, seqref(2, OTHER), topic="devices/t/telemetry")]
    return Breaker([*before, broken, *behind], 2)


def check(bench: Bench, frames: Breaker, device: str) -> None:
    """Let the pipeline read it, and hold that only the message in the middle is missing."""
    bench.inbox.put(Chunk(frames, 1, NOW, 1))
    assert bench.run()
    assert frames.raised, "it is not called while this message is read"
    assert bench.failures == []
    assert bench.acknowledged == [1, 2, 3, 4, 5, 6]
    assert bench.rows("SELECT * FROM rejection") == [(device, "internal_error", 1)]
    assert [event for event, _ in bench.logged] == ["message_broke_the_reader"]
    entries = sorted((one.place.device_id, one.record.boot_nonce.hex(), one.record.seq) for one in bench.messages())
    assert entries == [("s", OLD, 1), ("s", NEW, 2), ("s", NEW, 3), ("t", OTHER, 1), ("t", OTHER, 2)]
    assert [one.deliveries for one in bench.messages()] == [1] * 5
    seen = {(row.device_id, row.boot_nonce.hex()): row.seen.runs() for row in SqliteLedger(bench.connection).read()}
    assert seen == {("s", OLD): [(1, 1)], ("s", NEW): [(2, 3)], ("t", OTHER): [(1, 2)]}
    counters = bench.counters.summary()
    assert (counters["received"], counters["stored"], counters["duplicates"]) == (6, 5, 0)


LOOK_UPS = [  # which raise again while the device of the message is looked for
    (DeviceTopics, "_open"), (DeviceTopic, "__init__"), (TopicTemplate, "match"), (TopicRules, "is_plain"),
    (TrustRules, "policy"), (BootRuns, "of"), (CommandReplies, "tails"),
]  # fmt: skip
BOTH_WAYS = [
    (BootRuns, "enter"), (BootRuns, "_add"), (CommandReplies, "learn"), (Nonces, "meet"), (Births, "born"),
    (CloneWatch, "boot_changed"), (DeviceTopics, "renew_plan"), (SamplingPlans, "plan"), (HeadSampler, "plan"),
]  # fmt: skip
SHORT_WAY = [(fast_path, "read"), (Deriver, "__init__"), (Deriver, "ids"), (DeviceTopics, "deriver")]
LONG_WAY = [
    (SlowPath, "read"), (Identifier, "identify"), (context, "read"), (message, "identify"), (record, "pack"),
    (ot_member, "randomness"), (HeadSampler, "decide"), (Batch, "add"), (Batch, "saw"),
]  # fmt: skip


@pytest.mark.parametrize("pairs", [[seqref(1)], [LONG, seqref(1)]], ids=["short", "long"])
@pytest.mark.parametrize(("owner", "name"), [*LOOK_UPS, *BOTH_WAYS], ids=lambda one: getattr(one, "__name__", one))
def test_a_part_of_both_ways_that_raises_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, pairs: list[tuple[str, str]]
) -> None:
    frames = around(frame(3, *pairs))
    monkeypatch.setattr(owner, name, frames.breaks(getattr(owner, name)))
    bench = make_bench(templates=TEMPLATES)
    check(bench, frames, "" if (owner, name) in LOOK_UPS else "s")


@pytest.mark.parametrize(("owner", "name"), SHORT_WAY, ids=lambda one: getattr(one, "__name__", one))
def test_a_part_of_the_short_way_that_raises_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    frames = around(frame(3, seqref(1)))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(owner, name, frames.breaks(getattr(owner, name)))
    check(bench, frames, "s")


def test_a_record_that_cannot_be_packed_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = around(frame(3, seqref(1)))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(short_way, "RECORD", SimpleNamespace(pack=frames.breaks(record.RECORD.pack)))
    check(bench, frames, "s")


def test_a_second_number_of_a_boot_that_cannot_be_noted_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = around(frame(3, seqref(2, OLD), topic="devices/s/telemetry"))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(Batch, "saw", frames.breaks(Batch.saw))
    check(bench, frames, "s")


def test_a_decision_of_the_short_way_that_raises_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = around(frame(3, seqref(1)))
    bench = make_bench(templates=TEMPLATES, sample=HeadSettings(limit_per_s=1_000))
    monkeypatch.setattr(HeadSampler, "decide", frames.breaks(HeadSampler.decide))
    check(bench, frames, "s")


@pytest.mark.parametrize(("owner", "name"), LONG_WAY, ids=lambda one: getattr(one, "__name__", one))
def test_a_part_of_the_long_way_that_raises_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    frames = around(frame(3, LONG, seqref(1)))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(owner, name, frames.breaks(getattr(owner, name)))
    check(bench, frames, "s")


def test_a_packet_that_cannot_be_read_is_acknowledged_all_the_same(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = around(frame(3, LONG, seqref(1)))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(publish_packet, "read", frames.breaks(publish_packet.read))
    check(bench, frames, "")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(BareSeq, "boot_nonce"), (inferred_boots, "observe"), (BootRuns, "inferred")],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_bare_seq_that_breaks_its_reader_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    frames = around(frame(3, payload=b'{"seq":7}'))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(owner, name, frames.breaks(getattr(owner, name)))
    check(bench, frames, "s")


def test_an_answer_to_a_command_that_breaks_its_reader_costs_one_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = around(frame(3, ("traceparent", f"00-{'c1' * 16}-{NEW[2:]}00000001-03")))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(CommandReplies, "boot_nonce", frames.breaks(CommandReplies.boot_nonce))
    check(bench, frames, "s")


BIRTH = b'{"v":1,"nonce":"0b01020304"}'


@pytest.mark.parametrize(
    ("topic", "payload", "owner", "name"),
    [
        ("birth", BIRTH, birth, "parse"),
        ("birth", BIRTH, Births, "receive"),
        ("birth", BIRTH, Nonces, "announced"),
        ("birth", BIRTH, ReportedTopic, "birth"),
        ("stats", b"{}", device_stats, "parse"),
        ("stats", b"{}", DeviceStatistics, "receive"),
        ("seen", b"{}", hop_report, "parse"),
        ("seen", b"{}", HopReports, "receive"),
    ],
    ids=lambda one: getattr(one, "__name__", one if isinstance(one, str) else ""),
)
def test_a_message_of_a_side_topic_that_breaks_its_reader_costs_itself(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, topic: str, payload: bytes, owner: Any, name: str
) -> None:
    frames = around(frame(3, topic=f"motetrace/s/{topic}", payload=payload))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(owner, name, frames.breaks(getattr(owner, name)))
    check(bench, frames, "s")


def test_a_look_at_waiting_boots_that_raises_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(self: Nonces, now_unix_ns: int) -> None:
        raise BrokenError

    monkeypatch.setattr(Nonces, "look", look)
    bench.nonces.due_unix_ns = NOW
    bench.send(1, seqref(1))
    assert bench.run()
    assert (bench.acknowledged, bench.failures) == ([1], [])
    assert bench.rows("SELECT * FROM rejection") == [("", "internal_error", 1)]


@pytest.mark.parametrize("pairs", [[seqref(1)], [LONG, seqref(1)]], ids=["short", "long"])
def test_a_database_that_refuses_a_question_is_no_fault_of_the_message(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[str, str]]
) -> None:
    frames = around(frame(3, *pairs))
    bench = make_bench(templates=TEMPLATES)
    monkeypatch.setattr(BootTable, "first_seen", frames.breaks(BootTable.first_seen))
    monkeypatch.setattr(BootTable, "birth", frames.breaks(BootTable.birth))
    bench.inbox.put(Chunk(frames, 1, NOW, 1))
    bench.run()
    assert bench.failures == ["BrokenError: broken"]
    assert bench.acknowledged == []
    assert bench.messages() == []
