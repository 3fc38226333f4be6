"""A bare seq keeps its boot through redelivery, reconnects and restarts: held against a slow, obvious oracle."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.host.app.conftest import Bench

MakeBench = Callable[..., Bench]


def send(bench: Bench, packet_id: int, seq: int, connection: int = 1, dup: bool = False) -> None:
    bench.send(packet_id, payload=b'{"seq":%d}' % seq, connection=connection, dup=dup)


def boots(bench: Bench) -> list[tuple[int, int, int]]:
    """Messages, lowest and highest seq of each boot, the first seen first."""
    return bench.rows("SELECT count(*), min(seq), max(seq) FROM message GROUP BY boot_nonce ORDER BY min(id)")


def test_what_a_reconnect_repeats_is_no_new_boot_however_much_it_is(bench: Bench) -> None:
    for seq in range(1, 501):
        send(bench, seq, seq)
    for seq in range(301, 501):
        send(bench, seq, seq, connection=2, dup=True)
    send(bench, 501, 501, connection=2)
    assert bench.run()
    assert boots(bench) == [(501, 1, 501)]
    assert bench.counters.duplicates == 200


def test_a_killed_shim_goes_on_with_the_same_boot(make_bench: MakeBench) -> None:
    before = make_bench()
    for seq in range(1, 301):
        send(before, seq, seq)
    before.run()
    after = make_bench()
    for seq in range(101, 401):
        send(after, seq, seq, dup=seq <= 350)
    assert after.run()
    assert boots(after) == [(400, 1, 400)]


def test_a_reboot_that_was_lost_with_the_shim_is_still_a_new_boot(make_bench: MakeBench) -> None:
    before = make_bench()
    for seq in range(1, 301):
        send(before, seq, seq)
    before.run()
    after = make_bench()
    for seq in range(250, 301):  # repeated, known
        send(after, seq, seq, dup=True)
    for seq in range(1, 31):  # of the next boot; sent before the kill, never stored
        send(after, 300 + seq, seq, dup=True)
    assert after.run()
    assert boots(after) == [(300, 1, 300), (30, 1, 30)]


@dataclass
class World:
    """A device that counts from 1 at each boot, and a broker that repeats in order what was not acknowledged."""

    sent: list[tuple[int, int]] = field(default_factory=list)
    boot: int = 0
    seq: int = 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(70, 150), st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=4)
)
def test_kills_at_any_point_never_split_or_join_boots(
    tmp_path_factory: object, steps: list[tuple[int, float, float, bool]]
) -> None:
    """Each step: how many messages a boot sends, which part is stored, and acknowledged, before a kill; a reboot?"""
    path = tmp_path_factory.mktemp("world") / "motetrace.db"  # type: ignore[attr-defined]
    world = World()
    unacknowledged: list[tuple[int, int]] = []
    for messages, stored_part, acknowledged_part, reboot in steps:
        fresh: list[tuple[int, int]] = []
        for _ in range(messages):
            world.seq += 1
            fresh.append((world.boot, world.seq))
        world.sent += fresh
        queue = [(message, True) for message in unacknowledged] + [(message, False) for message in fresh]
        stored = queue[: round(stored_part * len(queue))]
        bench = Bench(path)
        for at, ((_, seq), dup) in enumerate(stored):
            send(bench, at % 65_535 + 1, seq, dup=dup)
        assert bench.run()
        bench.close()
        # Never all, and no number twice: what then cannot be told apart is told in shim/bare_seq.py.
        acknowledged = min(round(acknowledged_part * len(stored)), len(stored) - 1) if stored else 0
        while len({seq for _, seq in stored[acknowledged:]}) < len(stored) - acknowledged:
            acknowledged += 1
        unacknowledged = [message for message, _ in queue[acknowledged:]]
        if reboot:
            world.boot, world.seq = world.boot + 1, 0
    bench = Bench(path)
    for at, (_, seq) in enumerate(unacknowledged):
        send(bench, at % 65_535 + 1, seq, dup=True)
    assert bench.run()
    expected: dict[int, list[int]] = {}
    for boot, seq in world.sent:
        expected.setdefault(boot, []).append(seq)
    assert boots(bench) == [(len(seqs), 1, max(seqs)) for seqs in expected.values()]
    bench.close()
