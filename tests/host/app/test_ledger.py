"""The ledger against a slow, obvious oracle; and what it tells when asked."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motetrace_host.core import context, message
from motetrace_host.core.message import Arrival, Message
from motetrace_host.edges import database, ledger
from motetrace_host.edges.ledger import Ledger
from tests.host.app.conftest import NOW


def seen(device: str, boot: int, seq: int, at: int = 0) -> Message:
    found = context.read([("seqref", f"{boot:010x}-{seq:08x}-03")], b"")
    arrival = Arrival(device, f"devices/{device}/telemetry", "devices/{device_id}/telemetry", 1, b"", NOW + at)
    return message.identify(found, arrival, key=bytes(32), tenant="")


@pytest.fixture
def opened(tmp_path: Path) -> Ledger:
    return Ledger(database.connect(tmp_path / "motetrace.db"))


NAMES = st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 2), st.integers(1, 12))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NAMES, max_size=12), max_size=6))
def test_any_order_of_any_deliveries_gives_the_counts_that_counting_by_hand_gives(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int]]]
) -> None:
    connection = database.connect(tmp_path_factory.mktemp("ledger") / "motetrace.db")
    made = Ledger(connection)
    oracle: Counter[tuple[str, int, int]] = Counter()
    for batch in batches:
        with database.transaction(connection):
            new = made.record([seen(*name) for name in batch])
        for name, is_new in zip(batch, new, strict=True):
            assert is_new == (name not in oracle)
            oracle[name] += 1
    for count in made.counts():
        boot = int.from_bytes(count.boot_nonce or b"", "big")
        seqs = sorted(seq for device, of, seq in oracle if (device, of) == (count.device_id, boot))
        deliveries = sum(times for (device, of, _), times in oracle.items() if (device, of) == (count.device_id, boot))
        assert (count.seen, count.duplicates) == (len(seqs), deliveries - len(seqs))
        assert (count.lowest_seq, count.highest_seq) == (seqs[0], seqs[-1])
        assert count.missing == len(set(range(seqs[0], seqs[-1])) - set(seqs))
    assert len(made.counts()) == len({(device, boot) for device, boot, _ in oracle})
    for device, boot, seq in oracle:
        (entry,) = [found for found in made.find(device, seq) if found.boot_nonce == boot.to_bytes(5, "big")]
        assert entry.deliveries == oracle[device, boot, seq]
        before, after = made.neighbours(device, entry.boot_nonce or b"", seq)
        others = [at for name, of, at in oracle if (name, of) == (device, boot)]
        assert (before.seq if before else None) == max((at for at in others if at < seq), default=None)
        assert (after.seq if after else None) == min((at for at in others if at > seq), default=None)
    connection.close()


def test_the_oldest_messages_are_forgotten_first(opened: Ledger) -> None:
    opened.record([seen("a", 1, seq) for seq in range(1, 101)])
    assert opened.trim(30, limit=50) == 50
    assert opened.trim(30, limit=50) == 20
    assert opened.trim(30, limit=50) == 0
    (count,) = opened.counts("a")
    assert (count.seen, count.lowest_seq) == (30, 71)


def test_boots_are_bounded_and_the_first_seen_go_first(opened: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_BOOTS", 3)
    opened.record([seen("a", boot, 1, at=boot) for boot in range(1, 6)])
    assert opened.trim_boots() == 2
    assert [boot.boot_nonce[-1] for boot in opened.boots("a")] == [3, 4, 5]


def test_rejections_add_up(opened: Ledger) -> None:
    opened.reject({("a", "x"): 2, ("", "y"): 1})
    opened.reject({("a", "x"): 3})
    assert opened.rejections() == [("", "y", 1), ("a", "x", 5)]
