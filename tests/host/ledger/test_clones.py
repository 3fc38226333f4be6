"""core/messages/clones.py: two devices under one id are noticed, one that reboots is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motetrace_host.core.messages.clones import (
    MAX_BOOTS,
    RETURNS,
    RETURNS_WITHIN_MS,
    STRAGGLER_MS,
    BootTurns,
    Clones,
    observe,
)

NOW = 1_700_000_000_000
MINUTE_MS = 60_000


def nonce(name: object) -> bytes:
    return str(name).encode().rjust(5, b"-")


def follow(messages: list[tuple[str, int]]) -> list[tuple[int, Clones]]:
    """The messages at which clones are named, each (boot, receive time)."""
    turns, named = None, []
    for number, (name, at) in enumerate(messages):
        turns, clones = observe(turns, nonce(name), at)
        if clones is not None:
            named.append((number, clones))
    return named


def test_two_devices_that_take_turns_are_named_at_the_third_return_and_once() -> None:
    messages = [("AB"[n % 2], NOW + n * MINUTE_MS // 2) for n in range(40)]
    # A begins, B begins (1), and A returns with 2, 4 and 6.
    assert follow(messages) == [(6, Clones(older=nonce("A"), newer=nonce("B")))]


def test_clones_that_were_quiet_for_long_are_named_again() -> None:
    first = [("AB"[n % 2], NOW + n * MINUTE_MS // 2) for n in range(8)]
    later = [(name, at + 3 * RETURNS_WITHIN_MS) for name, at in first]
    assert [number for number, _ in follow([*first, *later])] == [6, len(first) + 4]


def test_a_device_that_reboots_again_and_again_is_one_device() -> None:
    assert follow([(f"{n}", NOW + n * MINUTE_MS) for n in range(500)]) == []


def test_stragglers_of_the_boot_before_are_no_clone() -> None:
    mixed = [("AB"[n % 2], NOW + n * STRAGGLER_MS // 50) for n in range(50)]
    assert follow([*mixed, *[("B", NOW + n * MINUTE_MS) for n in range(1, 30)]]) == []


def test_one_late_message_after_each_of_many_reboots_is_no_clone() -> None:
    """A device with a long queue that reboots each half hour."""
    messages = []
    for n in range(50):
        begin = NOW + n * 30 * MINUTE_MS
        messages += [(f"{n}", begin), (f"{n - 1}", begin + MINUTE_MS), (f"{n}", begin + 2 * MINUTE_MS)]
    assert follow(messages) == []


def test_three_devices_under_one_id_are_noticed() -> None:
    assert follow([("ABC"[n % 3], NOW + n * 20_000) for n in range(12)]) == [(9, Clones(nonce("A"), nonce("C")))]


@pytest.mark.parametrize("boots", range(1, MAX_BOOTS))
def test_a_clone_that_reboots_often_is_noticed(boots: int) -> None:
    """A runs; B is another device that boots once or more often between two messages of A."""
    turn = boots + 1
    messages = [("A" if n % turn == 0 else f"B{n}", NOW + n * 20_000) for n in range(5 * turn)]
    assert [number for number, _ in follow(messages)] == [3 * turn]


def test_turns_slower_than_the_window_are_not_counted() -> None:
    assert follow([("AB"[n % 2], NOW + n * RETURNS_WITHIN_MS) for n in range(20)]) == []


names = st.sampled_from([f"{n}" for n in range(7)])
steps = st.sampled_from([-RETURNS_WITHIN_MS, -1, 0, 1, STRAGGLER_MS, STRAGGLER_MS + 1, RETURNS_WITHIN_MS + 1])


@given(st.lists(st.tuples(names, steps), max_size=80))
def test_what_is_remembered_is_bounded_and_what_is_named_was_seen(messages: list[tuple[str, int]]) -> None:
    turns: BootTurns | None = None
    at, heard, returns = NOW, [], 0
    for name, step in messages:
        at += step
        is_return = nonce(name) in heard and heard[-1] != nonce(name)
        returns += is_return
        heard.append(nonce(name))
        turns, clones = observe(turns, nonce(name), at)
        assert turns.current == nonce(name)
        assert len(turns.boots) <= MAX_BOOTS
        assert len(turns.returns_unix_ms) < RETURNS
        if clones is not None:
            assert clones.older == heard[-1]
            assert clones.newer == heard[-2] != clones.older
            assert returns >= RETURNS
            returns = 0


@given(st.lists(st.integers(1, 30), min_size=9, max_size=9), st.integers(STRAGGLER_MS + 1, MINUTE_MS))
def test_clones_are_found_however_many_messages_a_turn_has(lengths: list[int], turn_ms: int) -> None:
    messages = [
        ("AB"[turn % 2], NOW + turn * turn_ms + message * turn_ms // length)
        for turn, length in enumerate(lengths)
        for message in range(length)
    ]
    assert [pair for _, pair in follow(messages)] == [Clones(nonce("A"), nonce("B"))]


@pytest.mark.parametrize("turn_ms", [1, 100, STRAGGLER_MS])
def test_fast_turns_count_when_the_newer_boot_is_no_longer_new(turn_ms: int) -> None:
    messages = [("AB"[n % 2], NOW + n * turn_ms) for n in range(3 * STRAGGLER_MS // turn_ms + 12)]
    [(number, _)] = follow(messages)
    assert STRAGGLER_MS < messages[number][1] - NOW <= 6 * STRAGGLER_MS + 5 * turn_ms
