"""Repairing a boot that was inferred as two: how such a pair is recognised, and what the two together are.

Firmware that sends a bare `seq` has its boots inferred (core/ledger/inferred_boots.py), and a redelivery that took
long, or two devices under one id, look like a reboot. A device that rebooted sends numbers once more that its boot
before had sent. Two boots whose ranges overlap and that share hardly any number in there are more likely one, cut in
two: `interleaved`.

Only a joining can be repaired: which number of a boot that should have been two belonged to which is not known.
"""

from __future__ import annotations

from typing import Final

from motetrace_host.core.ledger.inferred_boots import WINDOW, BootState
from motetrace_host.core.ledger.runs import size, within, without
from motetrace_host.core.ledger.seen_numbers import MAX_COUNT, SeenNumbers

MAX_SHARED: Final = 64
"""Numbers that two boots may have in common to be joined: what a broker repeats, and no more."""


def shared(one: SeenNumbers, other: SeenNumbers) -> int:
    """How many numbers both saw."""
    runs = one.runs()
    return size(runs) - size(without(runs, other.runs()))


def interleaved(one: SeenNumbers, other: SeenNumbers) -> bool:
    """Whether the ranges of two boots overlap, while of the numbers in there hardly any was seen in both."""
    low, high = max(one.lowest, other.lowest), min(one.highest, other.highest)
    if low > high:
        return False
    both = shared(one, other)
    return both <= MAX_SHARED and 4 * both <= within(one.runs(), low, high) + within(other.runs(), low, high)


def check(one: SeenNumbers, other: SeenNumbers) -> None:
    """Refuse to join boots that share more than `MAX_SHARED` numbers.

    Raises:
        ValueError: gives their number.
    """
    both = shared(one, other)
    if both > MAX_SHARED:
        raise ValueError(
            f"they share {both} numbers, and one boot never sends a number for two readings: that is a reboot; boots "
            f"that share 0..{MAX_SHARED} numbers can be joined"
        )


def merged(older: SeenNumbers, newer: SeenNumbers) -> SeenNumbers:
    """Join what one hop saw of two boots; neither is changed.

    Returns:
        The union of the numbers. Those in both are duplicates, the counts are added up, a number that neither saw is
        missing since the older missed it, else since the newer began.
    """
    both = SeenNumbers.unpack(older.pack())
    for start, end in newer.runs():
        both.add(start, end, newer.first_unix_ms)
    both.duplicates = min(older.duplicates + newer.duplicates + shared(older, newer), MAX_COUNT)
    both.late = older.late + newer.late
    both.recovered = older.recovered + newer.recovered
    # What one of them forgot lies within its runs: it counts as seen by `add`, and as not seen here.
    both.forgotten += newer.forgotten
    both.first_unix_ms = min(older.first_unix_ms, newer.first_unix_ms)
    both.last_unix_ms = max(older.last_unix_ms, newer.last_unix_ms)
    return both


def merged_state(state: BootState, kept: bytes, gone: bytes, both: SeenNumbers) -> BootState:
    """What `inferred_boots` is to keep of the device when `gone` has become part of `kept`.

    Args:
        state: what it has kept.
        both: what the shim saw of the two together.
    """
    if state.boot_nonce in (kept, gone):
        seen = sum(1 << back for back in range(WINDOW) if back <= both.highest and both.contains(both.highest - back))
        state = state._replace(
            boot_nonce=kept, highest=both.highest, seen=seen, began_unix_ns=both.first_unix_ms * 1_000_000
        )
        if state.previous_nonce in (kept, gone):
            state = state._replace(previous_nonce=bytes(len(kept)), previous_highest=0, previous_unix_ns=0)
    elif state.previous_nonce in (kept, gone):
        state = state._replace(previous_nonce=kept, previous_highest=both.highest)
    return state
