"""What the shared store promises beside the contract, on a real Valkey: several shims, lost replies, restarts."""

from __future__ import annotations

import random
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from services import Valkey

from motetrace_host.cluster import redis_ledger as redis_seen
from motetrace_host.cluster.redis_ledger import ENTRIES_PER_SCRIPT, RedisSeen
from motetrace_host.core.errors import StoreError
from motetrace_host.core.ledger.seen_numbers import SeenNumbers
from motetrace_host.core.ledger.store import SeenRuns
from tests.host.ledger.cutting_relay import CuttingRelay
from tests.host.ledger.stores import RedisLedger
from tests.host.ledger.test_seen_stores import Books

NOW = 1_700_000_000_000
BOOT = bytes.fromhex("0102030405")


def delta(start: int, end: int, device: str = "a", at: int = NOW) -> SeenRuns:
    return SeenRuns(device, BOOT, "shim", ((start, end),), at)


def test_a_batch_that_comes_again_changes_nothing_and_gets_its_reply_again(redis_ledger: RedisLedger) -> None:
    store = redis_ledger.store
    assert store.merge(1, [delta(1, 5)]) == [()]
    assert store.merge(2, [delta(4, 6), delta(9, 9)]) == [((4, 5),), ()]
    before = store.read()
    redis_ledger.reopen()
    assert redis_ledger.store.merge(2, [delta(4, 6), delta(9, 9)]) == [((4, 5),), ()]
    assert redis_ledger.store.read() == before


def test_a_batch_whose_reply_was_lost_counts_once(redis_ledger: RedisLedger) -> None:
    """Also one of several chunks: some of them may have been done, some not."""
    batch = [delta(n, n + 1, f"d{n % 700}") for n in range(2 * ENTRIES_PER_SCRIPT + 5)]
    books = Books()
    with CuttingRelay(redis_ledger.server.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}/0"
        through = RedisLedger(redis_ledger.server, redis_ledger.tenant, url=url)
        for batch_id in (1, 2):
            expected = books.merge(batch)
            relay.lose_replies = True
            for _ in range(2):
                with pytest.raises(StoreError) as lost:
                    through.store.merge(batch_id, batch)
                assert lost.value.retry
            relay.lose_replies = False
            assert through.store.merge(batch_id, batch) == expected
        through.close()
    assert redis_ledger.read() == books.rows()


def test_a_batch_of_which_only_the_first_chunk_was_done_is_completed(redis_ledger: RedisLedger) -> None:
    batch = [delta(n, n + 1) for n in range(ENTRIES_PER_SCRIPT + 3)]
    redis_ledger.store.merge(1, batch)
    redis_ledger.store.forget_before(NOW + 1)
    # The first chunk under a new id, as it is when the connection breaks before the second was sent.
    first = redis_ledger.store.merge(2, batch[:ENTRIES_PER_SCRIPT])
    again = redis_ledger.store.merge(2, batch)
    assert again[:ENTRIES_PER_SCRIPT] == first
    [row] = redis_ledger.read()
    assert (row.seen.count, row.seen.duplicates) == (ENTRIES_PER_SCRIPT + 4, ENTRIES_PER_SCRIPT + 2)


def test_a_later_chunk_is_not_added_before_an_earlier_one(redis_ledger: RedisLedger) -> None:
    """The first is refused (its state is damaged), so the second must not be there either."""
    redis_ledger.store.merge(1, [delta(1, 1)])
    key = f"motetrace:{{{redis_ledger.tenant}}}:boot:".encode() + BOOT
    redis_ledger.client.hset(key, b"shim\0a", b"rubbish")
    batch = [delta(2, 2)] * ENTRIES_PER_SCRIPT + [delta(1, 1, "b")._replace(boot_nonce=b"other")]
    with pytest.raises(StoreError, match=r"DAMAGED state at hop shim of device a") as refusal:
        redis_ledger.store.merge(2, batch)
    assert not refusal.value.retry
    assert redis_ledger.read(boot_nonce=b"other") == []
    with pytest.raises(StoreError, match=r"the state of device 'a' at hop 'shim' is damaged: .* 7 bytes"):
        redis_ledger.read()


def test_a_batch_id_below_the_last_one_is_refused(redis_ledger: RedisLedger) -> None:
    redis_ledger.store.merge(7, [delta(1, 1)])
    with pytest.raises(StoreError, match="STALE batch 6 came after batch 7") as refusal:
        redis_ledger.store.merge(6, [delta(2, 2)])
    assert not refusal.value.retry
    assert redis_ledger.read()[0].seen == SeenNumbers(1, 1, NOW)


def test_another_batch_under_the_same_id_is_refused(redis_ledger: RedisLedger) -> None:
    redis_ledger.store.merge(7, [delta(1, 1)])
    with pytest.raises(StoreError, match="OTHER batch 7 came before with other content") as refusal:
        redis_ledger.store.merge(7, [delta(2, 2)])
    assert not refusal.value.retry


def test_a_shim_that_starts_with_a_new_id_may_count_from_one_again(redis_ledger: RedisLedger) -> None:
    redis_ledger.store.merge(1000, [delta(1, 1)])
    restarted = RedisLedger(redis_ledger.server, redis_ledger.tenant, "shim-1-started-again")
    assert restarted.store.merge(1, [delta(1, 2)]) == [((1, 1),)]
    restarted.close()


def test_shims_that_see_the_numbers_of_a_device_in_turns_agree_with_one_oracle(redis_ledger: RedisLedger) -> None:
    shims = [redis_ledger, *(RedisLedger(redis_ledger.server, redis_ledger.tenant, f"shim-{n}") for n in (2, 3))]
    chance, books = random.Random(3), Books()
    queues = [[delta(seq, seq, f"d{seq % 5}", NOW + seq) for seq in range(n, 600, 3)] for n in range(3)]
    while any(queues):
        number = chance.choice([n for n in range(3) if queues[n]])
        size = chance.randrange(1, 20)
        batch, queues[number] = queues[number][:size], queues[number][size:]
        assert shims[number].merge(batch) == books.merge(batch)
    assert shims[1].read() == books.rows()
    assert sum(row.seen.count for row in shims[2].read()) == 600
    assert sum(row.seen.duplicates for row in shims[2].read()) == 0
    for shim in shims[1:]:
        shim.close()


def test_shims_at_work_at_the_same_time_count_every_number_once(shared_valkey: Valkey) -> None:
    tenant, again = uuid.uuid4().hex, []

    def work(number: int) -> None:
        shim = RedisLedger(shared_valkey, tenant, f"shim-{number}")
        for begin in range(0, 3000, 50):
            batch = [delta(seq, seq, f"d{seq % 4}") for seq in range(begin + number, begin + 50, 3)]
            again.extend(runs for runs in shim.merge(batch) if runs)
        shim.close()

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(3)))
    reader = RedisLedger(shared_valkey, tenant)
    states = [row.seen for row in reader.read()]
    assert (again, sum(seen.count for seen in states), sum(seen.duplicates for seen in states)) == ([], 3000, 0)
    # Every fourth number is a device's, so all between them are missing, and none of its own.
    assert [seen.runs() for seen in states] == [[(seq, seq) for seq in range(n, 3000, 4)] for n in range(4)]
    reader.close()


def test_tenants_know_nothing_of_each_other(redis_ledger: RedisLedger) -> None:
    other = RedisLedger(redis_ledger.server)
    redis_ledger.merge([delta(1, 5)])
    assert other.merge([delta(1, 5)]) == [()]
    assert other.forget_before(NOW + 1) == 1
    assert len(redis_ledger.read()) == 1
    other.close()


def test_what_was_answered_survives_a_kill_of_the_server(valkey: Valkey) -> None:
    """appendfsync is `always` here; the next call meets a new process that has never seen the script."""
    ledger, books = RedisLedger(valkey), Books()
    for round_number in range(3):
        batch = [delta(seq, seq + 1) for seq in range(100 * round_number, 100 * round_number + 60)]
        assert ledger.merge(batch) == books.merge(batch)
        valkey.kill()
        with pytest.raises(StoreError, match="Redis is out of reach; the work is retried") as refusal:
            ledger.read()
        assert refusal.value.retry
        valkey.start()
        assert ledger.read() == books.rows()
        assert ledger.store.merge(ledger.batch, batch) == ledger.store.merge(ledger.batch, batch)
        assert ledger.read() == books.rows()
    ledger.close()


def test_a_server_out_of_reach_is_worth_a_retry_and_nothing_counts_twice(valkey: Valkey) -> None:
    ledger = RedisLedger(valkey)
    valkey.stop()
    for _ in range(3):
        with pytest.raises(StoreError) as refusal:
            ledger.store.merge(1, [delta(1, 1)])
        assert refusal.value.retry
    valkey.start()
    assert ledger.store.merge(1, [delta(1, 1)]) == [()]
    ledger.close()


@pytest.mark.parametrize(("setting", "trouble", "remedy"), [("maxmemory", 1, 0), ("min-replicas-to-write", 1, 0)])
def test_a_server_that_takes_no_writes_now_is_worth_a_retry_and_keeps_nothing(
    setting: str, trouble: int, remedy: int, valkey: Valkey
) -> None:
    ledger = RedisLedger(valkey)
    ledger.merge([delta(1, 1)])
    before = ledger.read()
    ledger.client.config_set(setting, trouble)
    with pytest.raises(StoreError, match="Redis refused; the work is retried") as refusal:
        ledger.store.merge(2, [delta(1, 2), delta(1, 1, "b")])
    assert refusal.value.retry
    assert ledger.read() == before
    ledger.client.config_set(setting, remedy)
    assert ledger.store.merge(2, [delta(1, 2), delta(1, 1, "b")]) == [((1, 1),), ()]
    ledger.close()


def test_a_wrong_password_is_for_a_person_to_mend_and_is_not_repeated_in_the_error(valkey: Valkey) -> None:
    RedisLedger(valkey).client.config_set("requirepass", "right")
    for login in ("", ":wrong-secret@"):
        client = redis_seen.connect(f"redis://{login}127.0.0.1:{valkey.port}/0")
        store = RedisSeen(client, tenant="t", shim_id="s")
        with pytest.raises(StoreError, match="check user and password") as refusal:
            store.merge(1, [delta(1, 1)])
        assert not refusal.value.retry
        assert "wrong-secret" not in str(refusal.value)


def test_a_server_that_never_answers_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = redis_seen.connect(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", timeout_s=0.05)
        with pytest.raises(StoreError) as refusal:
            RedisSeen(client, tenant="t", shim_id="s").merge(1, [delta(1, 1)])
    assert refusal.value.retry


def test_every_key_carries_the_tenant_as_hash_tag_and_goes_away_by_itself(redis_ledger: RedisLedger) -> None:
    redis_ledger.merge([delta(1, 1), delta(1, 1, "")])
    nonce = BOOT.decode("latin-1")
    prefix = f"motetrace:{{{redis_ledger.tenant}}}:"
    assert redis_ledger.key_names() == [
        f"{prefix}{name}" for name in (f"boot:{nonce}", "boots", "device:a", "shim:shim-1")
    ]
    for key in redis_ledger.key_names():
        assert redis_seen.TTL_MS - 60_000 < redis_ledger.client.pttl(key.encode("latin-1")) <= redis_seen.TTL_MS
    redis_ledger.forget_before(NOW + 1)
    assert redis_ledger.key_names() == [f"{prefix}shim:shim-1"]


def test_a_boot_that_is_alive_is_renewed_once_an_hour(redis_ledger: RedisLedger) -> None:
    redis_ledger.merge([delta(1, 1)])
    keys = [name.encode("latin-1") for name in redis_ledger.key_names() if ":shim:" not in name]
    for at, renewed in ((NOW + 60_000, False), (NOW + 3_600_000, True), (NOW + 3_660_000, False), (NOW, True)):
        for key in keys:
            redis_ledger.client.pexpire(key, 1_000_000)
        redis_ledger.merge([delta(at % 1000, at % 1000, at=at)])
        assert [redis_ledger.client.pttl(key) > 1_000_000 for key in keys] == [renewed] * 3


def test_the_index_of_a_device_keeps_its_latest_boots(
    redis_ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_seen, "MAX_BOOTS_PER_DEVICE", 3)
    redis_ledger.reopen()
    boots = [bytes([n]) * 5 for n in range(5)]
    for n, boot in enumerate(boots):
        redis_ledger.merge([delta(1, 1, at=NOW + n)._replace(boot_nonce=boot)])
    assert [row.boot_nonce for row in redis_ledger.read("a")] == boots[2:]
    assert len(redis_ledger.read()) == 5
    assert len(redis_ledger.read(boot_nonce=boots[0])) == 1


def test_a_server_whose_settings_endanger_the_ledger_is_named(valkey: Valkey) -> None:
    ledger = RedisLedger(valkey)
    assert ledger.store.cautions() == []
    ledger.client.config_set("appendonly", "no")
    ledger.client.config_set("maxmemory-policy", "allkeys-lru")
    first, second = ledger.store.cautions()
    assert first.endswith("set appendonly yes")
    assert "maxmemory-policy allkeys-lru" in second
    valkey.stop()
    with pytest.raises(StoreError):
        ledger.store.cautions()
    ledger.close()


@pytest.mark.parametrize("name", ["", "a{b", "a b", "a" * 65, "a\n"])
def test_names_that_would_break_a_key_are_refused(name: str) -> None:
    client = redis_seen.connect("redis://127.0.0.1:1/0")
    with pytest.raises(ValueError, match="tenant"):
        RedisSeen(client, tenant=name, shim_id="s")
    with pytest.raises(ValueError, match="shim id"):
        RedisSeen(client, tenant="t", shim_id=name)
