"""Each message once over two stores: a kill between any two steps, and messages that then come here or elsewhere."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from services import Valkey

from motetrace_host.cluster import bare_seq_watch
from motetrace_host.cluster.group import SharedLedger
from motetrace_host.cluster.redis_ledger import RedisSeen
from motetrace_host.cluster.shared_ledger import LedgerAddress, fingerprint
from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.runs import Runs
from motetrace_host.core.ledger.store import SeenRuns
from motetrace_host.core.mqtt.framing import Frame
from motetrace_host.shim.build import DATABASE_NAME
from motetrace_host.shim.logging import Log
from motetrace_host.storage import database, pending_batches
from motetrace_host.storage.database import transaction
from motetrace_host.storage.side_tables import REJECTIONS
from tests.host.app.conftest import KEY, Bench, publish_frame
from tests.host.ledger.stores import RedisLedger

BOOT = "0a01020304"
FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class KilledError(BaseException):
    """The process ends here."""


class Mortal(RedisSeen):
    """The real ledger, under which the shim dies or the network breaks at a chosen call."""

    dies: str = ""
    breaks: str = ""

    def merge(self, batch_id: int, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        self._may("before merge")
        known = super().merge(batch_id, seen_runs)
        self._may("after merge")
        return known

    def claim(self, batch_id: int, keys: Iterable[bytes]) -> set[bytes]:
        taken = super().claim(batch_id, keys)
        self._may("after claim")
        return taken

    def _may(self, moment: str) -> None:
        if self.dies == moment:
            raise KilledError
        if self.breaks == moment:
            self.breaks = ""
            raise StoreError("the network broke", retry=True)


class Given(SharedLedger):
    """The shared ledger of a shim, already joined."""

    def __init__(self, store: RedisSeen) -> None:
        super().__init__(LedgerAddress("redis://given", ""))
        self._store = store

    def joined(self, connection: sqlite3.Connection, mark: bytes, log: Log) -> RedisSeen:
        return self._store


class Shim:
    """One shim on a database of its own; `start` again after it was killed."""

    def __init__(self, ledger: RedisLedger, path: Path) -> None:
        self._ledger, self._path = ledger, path
        self.start()

    def start(self) -> None:
        connection = database.connect(self._path)
        with transaction(connection):
            name = pending_batches.shim_id(connection)
        connection.close()
        self.store = Mortal(self._ledger.client, tenant=self._ledger.tenant, shim_id=name)
        self.bench = Bench(self._path, ledger=Given(self.store))

    def read(self, *frames: Frame) -> set[int]:
        """Read and store some messages, at the beginning of a connection."""
        self.bench.journal.connected()
        return self.bench.journal.write(self.bench.batch(*frames))

    def kill(self) -> None:
        self.bench.close()

    def seqs(self) -> list[int]:
        return [entry.record.seq for entry in self.bench.messages()]


@pytest.fixture
def make_shim(redis_ledger: RedisLedger, tmp_path: Path) -> Iterator[Callable[[], Shim]]:
    made: list[Shim] = []

    def make() -> Shim:
        made.append(Shim(redis_ledger, tmp_path / f"shim{len(made)}" / DATABASE_NAME))
        return made[-1]

    yield make
    for shim in made:
        shim.kill()


def numbered(*seqs: int, device: str = "s") -> list[Frame]:
    return [
        publish_frame(f"devices/{device}/telemetry", n, 1, False, False, b"x", [("seqref", f"{BOOT}-{seq:08x}-03")])
        for n, seq in enumerate(seqs, 1)
    ]


def foreign(*payloads: bytes) -> list[Frame]:
    return [
        publish_frame("devices/up/telemetry", n, 1, False, False, payload, [("traceparent", FOREIGN)])
        for n, payload in enumerate(payloads, 1)
    ]


def broken() -> Frame:
    """Without a context, and with a broken one: has a fault to be counted."""
    pairs = [("seqref", f"{BOOT}-00000009-03"), ("traceparent", "no")]
    return publish_frame("devices/s/telemetry", 99, 1, False, False, b"x", pairs)


MOMENTS = ("before 1", "before merge", "after merge", "after claim", "before 3", "before 4")
AGAIN = ("here", "elsewhere", "elsewhere before it is back", "both")


def _die(monkeypatch: pytest.MonkeyPatch, shim: Shim, moment: str) -> Any:
    """Prepare a death: inside the first transaction, inside the second, or at a call to the ledger."""
    of_transactions = {"before 1": "add", "before 3": "settle"}
    shim.store.dies = moment
    if moment in of_transactions:
        real = getattr(pending_batches, of_transactions[moment])

        def die(*arguments: Any) -> None:
            real(*arguments)
            raise KilledError

        monkeypatch.setattr(pending_batches, of_transactions[moment], die)


@pytest.mark.parametrize(("moment", "again"), list(itertools.product(MOMENTS, AGAIN)))
def test_a_kill_at_any_step_loses_nothing_and_counts_nothing_twice_wherever_the_messages_come_again(
    make_shim: Callable[[], Shim], redis_ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch, moment: str, again: str
) -> None:
    one, other = make_shim(), make_shim()
    other.read(*numbered(2), *foreign(b"b"))  # something of it was seen elsewhere before
    frames = [*numbered(1, 2, 3), broken(), *foreign(b"a", b"b", b"a")]
    with monkeypatch.context() as patch:
        _die(patch, one, moment)
        if moment == "before 4":
            one.read(*frames)
        else:
            with pytest.raises(KilledError):
                one.read(*frames)
    one.kill()
    if again == "elsewhere before it is back":
        other.read(*frames)
    one.start()
    one.bench.journal.connected()
    if again in ("here", "both"):
        one.read(*frames)
    if again in ("elsewhere", "both"):
        other.read(*frames)

    records = Counter(
        (entry.place.device_id, entry.record.seq, entry.extra.message_key)
        for shim in (one, other)
        for entry in shim.bench.messages()
    )
    assert set(records.values()) == {1}, "a message has two records"
    assert Counter(device for device, _, _ in records) == {"s": 4, "up": 2}
    (row,) = redis_ledger.read()
    assert (row.seen.runs(), row.seen.count) == ([(1, 3), (9, 9)], 4)
    rejected = Counter()
    for shim in (one, other):
        rejected.update({reason: count for _, reason, count in REJECTIONS.read(shim.bench.connection)})
        assert pending_batches.load(shim.bench.connection) is None
    assert rejected == {"traceparent_length": 1}


@pytest.mark.parametrize("moment", ["before merge", "after merge", "after claim"])
def test_a_batch_waits_while_the_ledger_is_out_of_reach_and_is_then_stored_once(
    make_shim: Callable[[], Shim], redis_ledger: RedisLedger, moment: str
) -> None:
    shim = make_shim()
    birth = publish_frame("motetrace/s/birth", 9, 1, False, False, b'{"v":1,"nonce":"0a01020304"}', [])
    batch = shim.bench.batch(birth, *numbered(1, 2), *foreign(b"a"))
    shim.store.breaks = moment
    with pytest.raises(StoreError) as broke:
        shim.bench.journal.write(batch)
    assert broke.value.retry
    assert shim.bench.log.count() == 0, "a pending message is read as a record"
    assert not shim.bench.log.last_block(), "the span outbox sees a pending batch"
    assert shim.bench.journal.write(batch) == set()
    assert shim.bench.log.count() == 3
    assert [row.seen.count for row in redis_ledger.read()] == [2]
    assert [row.seen.duplicates for row in redis_ledger.read()] == [0]


def test_another_batch_waits_for_the_one_before(make_shim: Callable[[], Shim]) -> None:
    shim = make_shim()
    first, second = shim.bench.batch(*numbered(1)), shim.bench.batch(*numbered(2))
    shim.store.breaks = "before merge"
    with pytest.raises(StoreError):
        shim.bench.journal.write(first)
    shim.store.breaks = "before merge"
    with pytest.raises(StoreError):
        shim.bench.journal.write(second)
    shim.bench.journal.write(second)
    assert shim.seqs() == [1, 2]


def test_a_batch_without_numbers_needs_no_ledger(make_shim: Callable[[], Shim]) -> None:
    shim = make_shim()
    shim.store.dies = "before merge"
    assert (
        shim.bench.journal.write(shim.bench.batch(publish_frame("devices/s/telemetry", 1, 1, False, False, b"x", ())))
        == set()
    )
    assert shim.bench.log.count() == 1
    assert pending_batches.last_id(shim.bench.connection) == 0


def test_a_state_folder_from_a_backup_is_refused_and_goes_on_under_another_name(
    make_shim: Callable[[], Shim], redis_ledger: RedisLedger, tmp_path: Path
) -> None:
    """The backup has a pending batch, too: it was merged since, so its messages are known."""
    shim = make_shim()
    shim.store.dies = "before merge"
    with pytest.raises(KilledError):
        shim.read(*numbered(1, 2))
    shim.kill()
    backup = tmp_path / "shim0" / DATABASE_NAME
    shutil.copy(backup, tmp_path / "copy.db")
    shim.start()
    shim.read(*numbered(3))
    shim.kill()
    shutil.copy(tmp_path / "copy.db", backup)
    shim.start()
    with pytest.raises(StoreError, match=r"STALE batch 1 came after batch 2; .* it takes another name") as refused:
        shim.read(*numbered(4))
    assert not refused.value.retry

    where = LedgerAddress(redis_ledger.server.url, redis_ledger.tenant)
    SharedLedger(where).joined(shim.bench.connection, fingerprint(KEY, ""), cast("Log", shim.bench))
    shim.kill()
    shim.start()
    shim.read(*numbered(4))
    assert shim.seqs() == [4]
    assert [row.seen.runs() for row in redis_ledger.read()] == [[(1, 4)]]


def test_a_device_with_a_bare_seq_that_two_shims_read_is_noticed_once(make_shim: Callable[[], Shim]) -> None:
    one, other = make_shim(), make_shim()

    def bare(seq: int, device: str = "s") -> Frame:
        return publish_frame(f"devices/{device}/telemetry", seq, 1, False, False, b'{"seq":%d}' % seq, ())

    def shared(shim: Shim) -> list[str]:
        return [fields["device.id"] for event, fields in shim.bench.logged if event == bare_seq_watch.REASON]

    one.read(bare(1), bare(1, "quiet"))
    other.read(bare(2))
    other.read(bare(4))
    one.read(bare(3))
    assert (shared(one), shared(other)) == ([], ["s"])
    other.read(bare(5))
    assert REJECTIONS.read(other.bench.connection) == [("s", bare_seq_watch.REASON, 1)]
    assert sorted(one.seqs() + other.seqs()) == [1, 1, 2, 3, 4, 5], "each message is counted once all the same"


def test_shims_with_another_key_are_refused(redis_ledger: RedisLedger) -> None:
    assert redis_ledger.store.enter(b"a" * 16) == 0
    redis_ledger.merge([SeenRuns("s", bytes(5), "shim", ((1, 1),), 1)])
    assert redis_ledger.store.enter(b"a" * 16) == 1, "the same key again"
    with pytest.raises(StoreError, match="another key: give all of them the same --key-file") as refused:
        redis_ledger.store.enter(b"b" * 16)
    assert not refused.value.retry


def test_a_claim_is_answered_alike_under_one_batch_id_and_others_hear_that_it_is_taken(
    redis_ledger: RedisLedger, shared_valkey: Valkey
) -> None:
    other = RedisLedger(shared_valkey, redis_ledger.tenant, "shim-2")
    keys = [bytes([n]) * 16 for n in range(3)]
    assert redis_ledger.store.claim(7, keys[:2]) == set()
    assert redis_ledger.store.claim(7, keys[:2]) == set()
    assert other.store.claim(7, keys) == set(keys[:2])
    assert redis_ledger.store.claim(8, keys) == set(keys)
    assert 0 < redis_ledger.client.pttl(redis_ledger.store._prefix.encode() + b"key:" + keys[0]) <= 3_600_000
    other.close()
