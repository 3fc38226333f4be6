"""On disk, then acknowledged, in order of arrival; and nothing stops it."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from motetrace_host.core.errors import StoreError
from motetrace_host.core.messages import record
from motetrace_host.core.messages.message import IdentifiedMessage
from motetrace_host.core.mqtt import publish_packet
from motetrace_host.core.mqtt.connection import Chunk, Delivery, Published
from motetrace_host.shim.batch import Batch
from motetrace_host.shim.device_topics import DeviceTopic
from motetrace_host.shim.identifier import Identifier
from motetrace_host.shim.inbox import Inbox
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.side_tables import REJECTIONS, SideTable
from motetrace_host.storage.sqlite_ledger import SqliteLedger
from tests.host.app.conftest import NOW, Bench, publish_frame

MakeBench = Callable[..., Bench]


FOREIGN = "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def seqref(seq: int) -> tuple[str, str]:
    return "seqref", f"0a01020304-{seq:08x}-03"


def test_messages_are_stored_and_acknowledged_in_order_of_arrival(bench: Bench) -> None:
    for packet_id in (5, 3, 9):
        bench.send(packet_id, seqref(packet_id))
    assert bench.run()
    assert bench.acknowledged == [5, 3, 9]
    assert [(entry.record.seq, entry.deliveries) for entry in bench.messages()] == [(5, 1), (3, 1), (9, 1)]
    assert Counter(span.name for span in bench.spans()) == {"broker_forward": 3, "device_publish": 3}


def test_a_message_that_came_twice_is_one_row_two_deliveries_and_two_acknowledgements(bench: Bench) -> None:
    bench.send(1, seqref(1))
    bench.send(2, seqref(1))
    assert bench.run()
    assert bench.acknowledged == [1, 2]
    assert [entry.deliveries for entry in bench.messages()] == [2]
    assert len(bench.spans()) == 2
    assert (bench.counters.stored, bench.counters.duplicates) == (1, 1)


def test_an_unsampled_message_is_counted_and_has_no_spans(bench: Bench) -> None:
    bench.send(1, ("seqref", "0a01020304-00000001-02"))
    assert bench.run()
    assert len(bench.messages()) == 1
    assert bench.spans() == []


def test_a_retained_reading_is_counted_acknowledged_and_extends_no_trace(bench: Bench) -> None:
    bench.send(1, seqref(1), retain=True)
    assert bench.run()
    assert bench.acknowledged == [1]
    assert bench.counters.retained == 1
    assert bench.messages() == []


def test_a_poisoned_message_is_counted_acknowledged_and_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify = Identifier.identify

    def breaking(self: Identifier, on: DeviceTopic, delivery: Delivery) -> IdentifiedMessage:
        if delivery.packet.payload == b"poison":
            raise RecursionError("what no one thought of")
        return identify(self, on, delivery)

    monkeypatch.setattr(Identifier, "identify", breaking)
    for packet_id, payload in ((1, b"x"), (2, b"poison"), (3, b"x")):
        bench.send(packet_id, ("unknown", ""), seqref(packet_id), payload=payload)
    assert bench.run()
    assert bench.acknowledged == [1, 2, 3]
    assert [entry.record.seq for entry in bench.messages()] == [1, 3]
    assert bench.rows("SELECT * FROM rejection") == [("s", "internal_error", 1)]
    ((event, fields),) = bench.logged
    assert (event, fields["device.id"], fields["reason"]) == ("message_broke_the_reader", "s", "internal_error")


def test_a_message_that_the_database_cannot_take_costs_only_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bench.journal.write

    def breaking(batch: Batch) -> set[int]:
        if any(record.unpack(packed).seq == 2 for packed in batch.records):
            raise OverflowError("too large for SQLite")
        return write(batch)

    monkeypatch.setattr(bench.journal, "write", breaking)
    for packet_id in (1, 2, 3):
        bench.send(packet_id, seqref(packet_id))
    assert bench.run()
    assert bench.acknowledged == [1, 2, 3]
    assert [entry.record.seq for entry in bench.messages()] == [1, 3]
    assert bench.rows("SELECT * FROM rejection") == [("s", "internal_error", 1)]


def test_what_is_known_of_a_boot_stays_when_its_batch_is_stored_in_parts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bench.journal.write

    def breaking(batch: Batch) -> set[int]:
        if any(record.unpack(packed).seq == 9 for packed in batch.records):
            raise OverflowError("too large for SQLite")
        return write(batch)

    monkeypatch.setattr(bench.journal, "write", breaking)
    bench.send(1, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020304"}')
    for packet_id in (3, 4, 9):
        bench.send(packet_id, seqref(packet_id))
    bench.send(10, topic="devices/bare/telemetry", payload=b'{"seq":7}')
    assert bench.run()
    assert [boot.inferred for boot in bench.ledger.boots("bare")] == [True]
    (row,) = SqliteLedger(bench.connection).read("s")
    assert (row.seen.lowest, row.seen.highest, sum(row.seen.missing(NOW // 1_000_000))) == (1, 4, 2)


def test_while_the_disk_is_full_nothing_is_acknowledged_and_afterwards_all_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bench.journal.write
    tried = threading.Event()
    attempts: list[int] = []

    def full(batch: Any) -> set[int]:
        attempts.append(len(bench.acknowledged))
        if len(attempts) < 3:
            raise StoreError("the disk is full", retry=True)
        tried.set()
        return write(batch)

    monkeypatch.setattr(bench.journal, "write", full)
    bench.send(1, seqref(1))
    bench.pipeline.start()
    assert tried.wait(10)
    assert bench.pipeline.stop()
    assert attempts[:3] == [0, 0, 0]
    assert bench.acknowledged == [1]
    assert [event for event, _ in bench.logged] == ["storing_waits", "storing_waits"]


def test_a_disk_that_cannot_be_read_delays_a_message_and_does_not_condemn_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot_state = BootTable.boot_state
    attempts: list[int] = []

    def failing(self: BootTable, device_id: str) -> bytes | None:
        attempts.append(len(bench.acknowledged))
        if len(attempts) < 3:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return boot_state(self, device_id)

    monkeypatch.setattr(BootTable, "boot_state", failing)
    bench.send(1, payload=b'{"seq":7}')
    bench.pipeline.start()
    deadline = time.monotonic() + 10
    while not bench.acknowledged and not bench.failures and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.pipeline.stop()
    assert attempts == [0, 0, 0]
    assert bench.acknowledged == [1]
    assert [entry.record.seq for entry in bench.messages()] == [7]
    assert bench.rows("SELECT * FROM rejection") == []


def test_a_stop_while_the_disk_is_full_leaves_the_messages_to_the_broker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def full(batch: Any) -> set[int]:
        tried.set()
        raise StoreError("the disk is full", retry=True)

    monkeypatch.setattr(bench.journal, "write", full)
    bench.send(1, seqref(1))
    bench.pipeline.start()
    assert tried.wait(10)
    bench.pipeline.stop(0.1)
    assert bench.acknowledged == []


def test_a_broken_database_ends_the_shim_and_says_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch: Any) -> set[int]:
        raise StoreError("the database is corrupt", retry=False)

    monkeypatch.setattr(bench.journal, "write", broken)
    bench.send(1, seqref(1))
    bench.run()
    assert bench.acknowledged == []
    assert bench.failures == ["the database is corrupt"]


def test_what_the_birth_said_is_on_the_spans_of_its_boot(bench: Bench) -> None:
    birth = b'{"v":1,"nonce":"0a01020304","fw":"1.4.2","baggage":{"site":"hall"}}'
    bench.send(1, topic="motetrace/s/birth", payload=birth, retain=True)
    bench.send(2, seqref(1))
    bench.send(3, ("seqref", "0a01020305-00000001-03"))
    bench.send(4, topic="motetrace/s/birth", payload=b"", retain=True)
    bench.send(5, topic="motetrace/s/birth", payload=b"{")
    assert bench.run()
    first, second = [span for span in bench.spans() if span.name == "device_publish"]
    assert (first.attributes["device.firmware"], first.attributes["baggage.site"]) == ("1.4.2", "hall")
    assert "device.firmware" not in second.attributes
    assert bench.rows("SELECT firmware FROM device_boot WHERE birth IS NOT NULL") == [("1.4.2",)]
    assert bench.counters.births == 1
    assert bench.rows("SELECT * FROM rejection") == [("s", "birth_format", 1)]


def test_a_birth_is_remembered_by_the_next_shim(make_bench: MakeBench) -> None:
    before = make_bench()
    before.send(1, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020304","fw":"1.4.2"}')
    before.run()
    after = make_bench()
    after.send(2, seqref(1))
    after.send(3, payload=b'{"seq":1}')
    assert after.run()
    spans = [span for span in after.spans() if span.name == "device_publish"]
    firmware = [span.attributes["device.firmware"] for span in spans]
    assert firmware == ["1.4.2", "1.4.2"], "an inferred boot takes the device's latest birth"


def test_what_was_lost_before_the_first_message_counts_when_the_boot_was_heard_to_begin(bench: Bench) -> None:
    bench.send(1, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020304"}')
    bench.send(2, topic="motetrace/s/birth", payload=b'{"v":1,"nonce":"0a01020305"}', retain=True)
    bench.send(3, seqref(4))
    bench.send(4, ("seqref", "0a01020305-00000004-03"))
    assert bench.run()
    heard, found = [row.seen for row in SqliteLedger(bench.connection).read("s")]
    assert (heard.lowest, heard.highest, sum(heard.missing(NOW // 1_000_000))) == (1, 4, 3)
    assert (found.lowest, sum(found.missing(NOW // 1_000_000))) == (4, 0), "before this shim listened: not lost"


def test_faults_are_counted_by_device_and_reason(bench: Bench) -> None:
    bench.send(1, ("traceparent", "00-zz"), payload=b"{")
    bench.send(2, seqref(1), fault="properties_too_many")
    bench.send(3, topic="elsewhere")
    bench.send(4, topic="", fault="topic_not_utf8")
    assert bench.run()
    assert bench.acknowledged == [1, 2, 3, 4]
    assert sorted(bench.rows("SELECT * FROM rejection")) == [
        ("", "topic_not_utf8", 1),
        ("", "topic_without_device", 1),
        ("s", "json_malformed", 1),
        ("s", "properties_too_many", 1),
        ("s", "traceparent_length", 1),
    ]


def test_the_faults_of_a_message_are_counted_once_however_often_it_comes(bench: Bench) -> None:
    for connection in (1, 2, 3):
        broken = ("traceparent", "00-zz"), ("baggage", "\u00e9"), seqref(1)
        bench.send(1, *broken, connection=connection, dup=connection > 1)
    assert bench.run()
    assert [entry.deliveries for entry in bench.messages()] == [3]
    assert bench.rows("SELECT * FROM rejection ORDER BY reason") == [
        ("s", "baggage_format", 1),
        ("s", "traceparent_length", 1),
    ]
    assert bench.counters.rejected == {"baggage_format": 1, "traceparent_length": 1}


def test_faults_without_a_row_are_counted_at_each_delivery(bench: Bench) -> None:
    for packet_id in (1, 2):
        bench.send(packet_id, retain=True, fault="properties_too_many")
        bench.send(packet_id, topic="elsewhere")
    assert bench.run()
    assert sorted(bench.rows("SELECT * FROM rejection")) == [
        ("", "topic_without_device", 2),
        ("s", "properties_too_many", 2),
    ]


def test_faults_of_a_batch_that_the_disk_refused_at_first_are_counted_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SideTable.save
    attempts: list[int] = []

    def full(table: SideTable[Any], connection: sqlite3.Connection, rows: Any) -> None:
        save(table, connection, rows)
        if table is not REJECTIONS:
            return
        attempts.append(1)
        if len(attempts) < 3:
            raise StoreError("the disk is full", retry=True)

    monkeypatch.setattr(SideTable, "save", full)
    bench.send(1, ("traceparent", "00-zz"), seqref(1))
    assert bench.run()
    assert bench.rows("SELECT * FROM rejection") == [("s", "traceparent_length", 1)]
    assert bench.counters.rejected == {"traceparent_length": 1}


def test_a_republished_message_is_acknowledged_when_its_republish_is(make_bench: MakeBench) -> None:
    bench = make_bench(republish=True)
    for packet_id in (1, 2, 3):
        bench.send(packet_id, seqref(packet_id))
    bench.send(4, topic="motetrace/s/birth", payload=b"")
    bench.answer(2)
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    assert len(bench.published) == 3
    assert bench.acknowledged == [], "the first waits, and those behind it wait for their turn"


def test_answers_release_acknowledgements_in_order(make_bench: MakeBench) -> None:
    bench = make_bench(republish=True)
    arrived = threading.Semaphore(0)
    publish = bench.publish

    def answering(*message: Any) -> int:
        packet_id = publish(*message)
        if packet_id == 3:
            for answered in (3, 1, 2):
                bench.answer(answered, "quota exceeded" if answered == 2 else "")
        arrived.release()
        return packet_id

    bench.pipeline._republisher._publish = answering
    for packet_id in (11, 12, 13):
        bench.send(packet_id, seqref(packet_id))
    assert bench.run()
    assert bench.acknowledged == [11, 12, 13]
    assert bench.counters.republished == 2
    assert bench.counters.rejected["republish_refused"] == 1


def test_a_message_that_comes_again_while_its_republish_is_unanswered_is_not_published_twice(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(republish=True)
    bench.send(1, seqref(1), connection=1)
    bench.send(1, seqref(1), connection=2, dup=True)
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    assert len(bench.published) == 1


def test_equal_readings_on_one_connection_are_each_republished_and_their_repeats_are_not(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(republish=True)
    for connection in (1, 2, 3):
        for packet_id in (1, 2, 3):
            bench.send(packet_id, FOREIGN, connection=connection, dup=connection > 1)
    bench.send(4, FOREIGN, connection=3, dup=True)  # sent before the connection was lost, and not read in time
    for packet_id in (1, 2, 3, 4):
        bench.answer(packet_id)
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    assert len(bench.published) == 4
    assert [entry.deliveries for entry in bench.messages()] == [10]


def test_messages_of_one_foreign_traceparent_are_rows_spans_and_republishes_of_their_own(make_bench: MakeBench) -> None:
    bench = make_bench(republish=True)
    for packet_id in range(1, 21):
        bench.send(packet_id, FOREIGN, payload=b"%d" % packet_id)
    bench.pipeline.start()
    bench.pipeline.stop(0.5)
    assert [payload for _, payload, _, _ in bench.published] == [b"%d" % number for number in range(1, 21)]
    spans = {span.span_id.hex() for span in bench.spans() if span.name == "device_publish"}
    assert len(spans) == 20
    assert FOREIGN[1][36:52] not in spans, "the sender's own span would be dropped as a duplicate"
    sent = {dict(pairs)["traceparent"] for _, _, pairs, _ in bench.published}
    assert sent == {f"{FOREIGN[1][:36]}{span}-01" for span in spans}


def chunk(qos: int, packet_id: int = 1, connection: int = 1, size: int = 0) -> Chunk:
    frame = publish_frame("t", packet_id, qos, False, False, bytes(size), [])
    return Chunk([frame], connection, 1, len(frame[1]))


def packet_ids(chunks: list[Chunk]) -> list[int]:
    return [publish_packet.read(*frame).packet_id for chunk in chunks for frame in chunk.frames]


def test_a_full_inbox_sheds_qos_0_and_counts_it() -> None:
    inbox = Inbox(2)
    for _ in range(5):
        inbox.put(chunk(0))
    assert (len(inbox), inbox.shed, inbox.held_back) == (2, 3, 0)
    assert inbox.overdue() == 0


def test_a_full_inbox_holds_qos_1_back_in_order_until_the_connection_is_renewed() -> None:
    inbox = Inbox(2)
    for packet_id in (1, 2, 3):
        inbox.put(chunk(1, packet_id))
    assert inbox.overdue() == 0, "first all before it is to be taken"
    taken = inbox.take(10, 0, 0)[0]
    inbox.put(chunk(1, 4))
    assert inbox.take(10, 0, 0)[0] == [], "what follows is held back, too, though it would fit"
    assert [inbox.overdue(), inbox.overdue()] == [1, 0], "told once"
    for packet_id in (3, 4):
        inbox.put(chunk(1, packet_id, connection=2))
    taken += inbox.take(10, 0, 0)[0]
    assert packet_ids(taken) == [1, 2, 3, 4]
    assert inbox.held_back == 2


def test_an_overflown_connection_that_brings_qos_0_too_keeps_that() -> None:
    inbox = Inbox(1)
    inbox.put(chunk(1, 1))
    inbox.put(chunk(1, 2))
    inbox.take(10, 0, 0)
    both = chunk(0)._replace(frames=[*chunk(0).frames, *chunk(1, 3).frames])
    inbox.put(both)
    assert packet_ids(inbox.take(10, 0, 0)[0]) == [0]
    assert (inbox.shed, inbox.held_back) == (0, 2)


def test_an_overflown_connection_is_renewed_when_all_before_it_is_acknowledged(bench: Bench) -> None:
    for packet_id in range(1, 1_003):
        bench.send(packet_id, seqref(packet_id))
    bench.pipeline.start()
    deadline = time.monotonic() + 10
    while not bench.renewed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.acknowledged == list(range(1, 1_001))
    assert bench.renewed == [1]
    assert bench.pipeline.stop()


def test_the_inbox_is_bounded_in_bytes_too() -> None:
    inbox = Inbox(1_000_000, max_bytes=10_000)
    for _ in range(5):
        inbox.put(chunk(0, size=6_000))
    assert (len(inbox), inbox.shed) == (2, 3)
    inbox.take(10, 0, 0)
    inbox.put(chunk(0, size=6_000))
    assert len(inbox) == 1


def test_a_closed_inbox_gives_what_is_in_and_takes_nothing() -> None:
    inbox = Inbox(1)
    first = chunk(1)
    inbox.put(first)
    inbox.close()
    inbox.put(first)
    assert inbox.take(10, 1, 1)[0] == [first]
    assert inbox.take(10, 0, 0) == ([], [])


def test_one_who_takes_answers_only_waits_for_them_whatever_else_is_in() -> None:
    inbox = Inbox(10)
    inbox.put(chunk(1))
    waits: list[float] = []
    wait = inbox._change.wait
    inbox._change.wait = lambda limit_s=None: waits.append(limit_s) or wait(limit_s)  # type: ignore[method-assign]
    assert inbox.take(0, 0.1, 0) == ([], [])
    assert waits == [0.1]
    inbox.put_published(Published(7))
    assert inbox.take(0, 10, 0) == ([], [Published(7)])
