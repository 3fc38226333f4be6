"""Promises of core/ledger/inferred_boots.py."""

import re
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.ledger import inferred_boots
from motetrace_host.core.ledger.inferred_boots import BootMatch, BootState, observe, pack, unpack

SECOND = 10**9
MINUTE = 60 * SECOND
LAST = 2**32 - 1


class Device:
    """One device as the host sees it; draws nonces n1, n2, ..."""

    def __init__(self) -> None:
        self.state: BootState | None = None
        self.now = 1_700_000_000 * SECOND
        self.nonces: Iterator[bytes] = (b"n%04d" % number for number in count(1))

    def see(self, seq: int, after_ns: int = SECOND) -> BootMatch:
        self.now += after_ns
        self.state, sighting = observe(self.state, seq, self.now, next(self.nonces))
        self.state = unpack(pack(self.state))  # as the ledger does
        return sighting

    def see_all(self, *seqs: int, after_ns: int = SECOND) -> list[str]:
        return [self.see(seq, after_ns).why for seq in seqs]


def test_the_first_message_begins_a_boot_at_any_number() -> None:
    for seq in (0, 1, 17, LAST):
        assert Device().see(seq) == BootMatch(b"n0001", seq, True, "first")


def test_numbers_that_follow_each_other_are_one_boot() -> None:
    device = Device()
    first = device.see(1)
    for seq in range(2, 200):
        assert device.see(seq) == BootMatch(first.boot_nonce, seq, False, "next")


def test_a_loss_is_a_gap_in_the_same_boot() -> None:
    assert Device().see_all(1, 2, 5, 6, 1006, 1006 + inferred_boots.MAX_GAP) == [
        "first",
        "next",
        "gap",
        "next",
        "gap",
        "gap",
    ]


def test_a_leap_beyond_any_plausible_loss_is_a_new_boot() -> None:
    device = Device()
    assert device.see_all(1, 2 + inferred_boots.MAX_GAP) == ["first", "jump"]
    assert device.state is not None
    assert device.state.boot_nonce == b"n0002"


def test_a_number_far_below_is_a_reboot() -> None:
    device = Device()
    assert device.see_all(1000, 1, 2) == ["first", "reboot", "next"]
    assert device.see_all(500, 500 - inferred_boots.WINDOW) == ["gap", "reboot"]


def test_late_messages_fill_their_gaps_and_repeated_ones_are_told_from_them() -> None:
    device = Device()
    assert device.see_all(100, 101, 104, 103, 103, 102, 104, 100, 105) == [
        "first", "next", "gap", "late", "duplicate", "late", "duplicate", "duplicate", "next",
    ]  # fmt: skip
    assert device.see_all(105 + 63, 105, 106) == ["gap", "duplicate", "late"]


def test_a_repeated_number_never_begins_a_boot_unless_it_could_be_a_first_one() -> None:
    device = Device()
    device.see_all(2, 3, 4)
    assert [device.see(seq, 60 * MINUTE).why for seq in (4, 3, 2, 5)] == ["duplicate", "duplicate", "duplicate", "next"]


def test_number_one_again_within_10_s_is_a_redelivery_and_later_a_reboot() -> None:
    device = Device()
    assert device.see(1).why == "first"
    assert device.see(1, inferred_boots.RESTART_AFTER_NS).why == "duplicate"
    assert device.see(1, 1).why == "reboot"
    assert device.see(1, 1).why == "duplicate"


def test_a_board_that_wakes_sends_one_message_and_sleeps_boots_each_time() -> None:
    for first in (0, 1):
        device = Device()
        assert device.see_all(*[first] * 5, after_ns=MINUTE) == ["first", *["reboot"] * 4]


def test_a_reset_after_a_few_messages_is_seen() -> None:
    device = Device()
    assert device.see_all(*range(1, 41))[-1] == "next"
    assert device.see_all(1, 2, 3) == ["reboot", "next", "next"]
    zero = Device()
    assert zero.see_all(*range(41))[-1] == "next"
    assert zero.see_all(0, 1, 2) == ["reboot", "next", "next"]


def test_a_reset_is_seen_at_once_when_the_host_came_in_the_middle_of_a_boot() -> None:
    device = Device()
    assert device.see_all(30, 31, 32, 1, 2) == ["first", "next", "next", "reboot", "next"]


def test_after_the_last_number_a_new_epoch_begins() -> None:
    for first_after in (0, 1):
        device = Device()
        assert device.see_all(LAST - 1, LAST, first_after, first_after + 1) == ["first", "next", "wrap", "next"]
        assert device.state is not None
        assert device.state.boot_nonce == b"n0003"


def test_a_message_from_before_the_wrap_still_belongs_to_the_old_epoch() -> None:
    device = Device()
    old = device.see(LAST - 1)
    new = device.see(0)
    assert new.why == "wrap"
    assert device.see(LAST) == BootMatch(old.boot_nonce, LAST, False, "late_previous")
    assert device.see(1) == BootMatch(new.boot_nonce, 1, False, "next")


def test_what_is_redelivered_from_before_a_reboot_belongs_to_the_boot_before() -> None:
    device = Device()
    device.see_all(1009, 1010)
    old = device.state
    device.see_all(1, 2)
    new = device.state
    assert old is not None and new is not None
    assert device.see(1009) == BootMatch(old.boot_nonce, 1009, False, "late_previous")
    assert device.see(1010) == BootMatch(old.boot_nonce, 1010, False, "late_previous")
    assert device.see(1) == BootMatch(new.boot_nonce, 1, False, "duplicate")
    assert device.see(3) == BootMatch(new.boot_nonce, 3, False, "next")


def test_a_straggler_is_no_longer_looked_for_after_5_minutes() -> None:
    device = Device()
    device.see_all(1009, 1)
    assert device.see(1008, inferred_boots.PREVIOUS_KEPT_NS + 1).why == "gap"


def test_a_clock_that_steps_back_changes_nothing() -> None:
    device = Device()
    assert device.see_all(1, 2, 3, 3, 4, after_ns=-60 * MINUTE) == ["first", "next", "next", "duplicate", "next"]


@st.composite
def lives(draw: st.DrawFn) -> list[list[int]]:
    """What arrives from some boots: each at least 80 messages long, some lost, some late by up to 3, some twice."""
    arrivals = []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, 1))
        length = draw(st.integers(80, 120))
        lost = draw(st.sets(st.integers(first + 2, first + length - 1), max_size=6))
        seqs = [seq for seq in range(first, first + length) if seq not in lost]
        # A reboot whose first numbers look like the end of the boot before cannot be told; begin in order.
        order = [(at + (draw(st.sampled_from([0, 0, 0, 0, 3])) if at > 3 else 0), at) for at in range(len(seqs))]
        arrived = [seqs[at] for _, at in sorted(order)]
        for at in sorted(draw(st.sets(st.integers(3, len(arrived) - 1), max_size=4)), reverse=True):
            arrived.insert(at + 1, arrived[at])
        arrivals.append(arrived)
    return arrivals


@given(lives())
def test_through_loss_disorder_repetition_and_reboots_each_boot_has_one_nonce(arrivals: list[list[int]]) -> None:
    device = Device()
    nonces = []
    for arrived in arrivals:
        sightings = [device.see(seq) for seq in arrived]
        assert [sighting.new_boot for sighting in sightings] == [True] + [False] * (len(arrived) - 1)
        assert len({sighting.boot_nonce for sighting in sightings}) == 1
        nonces.append(sightings[0].boot_nonce)
        # Every message is new once: what is counted is what arrived.
        fresh = [sighting.seq for sighting in sightings if sighting.why != "duplicate"]
        assert sorted(fresh) == sorted(set(arrived))
    assert len(set(nonces)) == len(arrivals)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200) | st.integers(LAST - 99, LAST) | st.integers(0, LAST), st.integers(-SECOND, 10 * MINUTE)
        ),
        max_size=60,
    )
)
def test_any_numbers_in_any_order_give_a_state_that_holds_together(seen: list[tuple[int, int]]) -> None:
    device = Device()
    known: set[bytes] = set()
    for seq, after_ns in seen:
        sighting = device.see(seq, after_ns)
        assert device.state is not None
        assert sighting.seq == seq
        assert sighting.new_boot == (sighting.boot_nonce not in known)
        assert sighting.new_boot == (sighting.why in ("first", "reboot", "wrap", "jump"))
        known.add(sighting.boot_nonce)
        assert device.state.seen & 1
        assert 0 <= device.state.seen < 2**64
        if sighting.why != "late_previous":
            assert device.state.last_seq == seq <= device.state.highest
            assert sighting.boot_nonce == device.state.boot_nonce


def test_a_state_is_55_bytes_and_another_version_is_refused_with_the_remedy() -> None:
    state, _ = observe(None, LAST, 2**62, b"12345")
    data = pack(state)
    assert len(data) == 55
    assert unpack(data) == state
    for broken in (b"", data[:-1], data + b"x", b"\x02" + data[1:]):
        with pytest.raises(ValueError, match="begin anew"):
            unpack(broken)


@pytest.mark.parametrize(
    ("seq", "entropy5", "named"),
    [
        (-1, b"12345", "seq -1 is outside 0..4294967295"),
        (2**32, b"12345", "seq 4294967296"),
        (1, b"1234", "entropy5 has 4 bytes"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_and_range(seq: int, entropy5: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        observe(None, seq, 0, entropy5)
