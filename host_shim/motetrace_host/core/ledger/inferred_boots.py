"""Boots inferred from a bare message number, for firmware that is not ours.

The device sends a 32-bit `seq` and nothing else. When the number starts again the device has rebooted, and the same
numbers then mean other messages, so each boot gets a nonce here. What is known of one device is a `BootState` of 55
bytes; `observe` takes it and one message, and gives the next state. The rules, in order:

| seq, compared with the highest of this boot | taken as | why |
|---|---|---|
| nothing known yet | new boot | `first` |
| one above | this boot | `next` |
| over 8 above or over 63 below, and a straggler of the boot before (*) | the boot before, late | `late_previous` |
| up to 2**20 above | this boot, the ones between are missing | `gap` |
| further above | new boot (a counter that starts at random) | `jump` |
| up to 63 below, not seen yet | this boot, late | `late` |
| up to 63 below (0 included), seen | this boot, again | `duplicate` |
| the same, but it is 0 or 1, over 10 s after this boot began, or not seen and over 8 below | new boot | `reboot` |
| 2**32-1 or just below it was the highest, this is just above 0 | new epoch | `wrap` |
| further below | new boot | `reboot` |

(*) from 63 below to 8 above that boot's highest, received at most 5 min after it ended.

What cannot be distinguished, and how it is decided:

* `seq` 1 again within 10 s of the boot's first message is a redelivery; a device that crashes and is back within 10 s
  with a highest of 63 or less is taken for one, its messages for duplicates, until its seq passes that highest.
* `seq` 1 again after 10 s is a reboot (a board that wakes, sends one message and sleeps starts at 1 each time); a
  redelivery that takes longer, of a boot's very first message, is counted as a boot of its own.
* A straggler of the boot before that also fits this boot (up to 8 above its highest) is taken for this boot's; a gap
  of more than 8 that lands near the highest of a boot that ended less than 5 min ago, for a straggler.
* A reboot in the first 64 messages whose messages 0 and 1 were both lost looks late or repeated until seq passes the
  highest. Firmware that sends a seqref has none of these doubts.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from motetrace_host.core.ledger.runs import MAX_SEQ

NONCE_BYTES: Final = 5
WINDOW: Final = 64
MAX_GAP: Final = 2**20
NEAR: Final = 8
RESTART_AFTER_NS: Final = 10 * 10**9
PREVIOUS_KEPT_NS: Final = 300 * 10**9
_FIRST_SEQ: Final = 1  # firmware starts at 0 or at 1
_SEEN_MASK: Final = 2**WINDOW - 1
_PACKED: Final = struct.Struct(">B5sIIQqq5sIq")
_VERSION: Final = 1
_NO_NONCE: Final = bytes(NONCE_BYTES)


class BootState(NamedTuple):
    """What is remembered of one device between two messages.

    Args:
        boot_nonce: 5 bytes, drawn when this boot was first seen.
        last_seq: 0..2**32-1, of the message taken last.
        highest: 0..2**32-1, the highest seq of this boot.
        seen: 64 bits; bit n says that highest - n was seen.
        began_unix_ns: Receive time of this boot's first message.
        last_unix_ns: Receive time of the last message.
        previous_nonce: 5 bytes: the boot before, or five zeros when there was none.
        previous_highest: 0..2**32-1, its highest seq.
        previous_unix_ns: When it ended: the receive time of the first message of this boot.
    Source: docs/wire-format.md, "a bare number".
    """

    boot_nonce: bytes
    last_seq: int
    highest: int
    seen: int
    began_unix_ns: int
    last_unix_ns: int
    previous_nonce: bytes = _NO_NONCE
    previous_highest: int = 0
    previous_unix_ns: int = 0


class BootMatch(NamedTuple):
    """Which boot one message belongs to.

    Args:
        boot_nonce: 5 bytes.
        seq: 0..2**32-1, as received.
        new_boot: True for the first message of a boot (or of an epoch after the wrap).
        why: `first`, `next`, `gap`, `jump`, `late`, `late_previous`, `duplicate`, `reboot` or `wrap`.
    Source: docs/wire-format.md, "a bare number".
    """

    boot_nonce: bytes
    seq: int
    new_boot: bool
    why: str


def observe(state: BootState | None, seq: int, received_unix_ns: int, entropy5: bytes) -> tuple[BootState, BootMatch]:
    """Find which boot a bare seq belongs to.

    Args:
        state: What the last call for this device returned; None for a device not seen before.
        seq: 0..2**32-1.
        received_unix_ns: Receive time; may step back.
        entropy5: 5 random bytes, used as the nonce if this is a new boot.
    Returns:
        The state to keep, and the sighting.
    Raises:
        ValueError: seq or entropy5 is out of range; names the value and the range.
    Source: docs/wire-format.md, "a bare number"; the table above.
    """
    if not 0 <= seq <= MAX_SEQ:
        raise ValueError(f"seq {seq} is outside 0..{MAX_SEQ}")
    if len(entropy5) != NONCE_BYTES:
        raise ValueError(f"entropy5 has {len(entropy5)} bytes; it has {NONCE_BYTES}")
    why = _classify(state, seq, received_unix_ns)
    if state is None or why in ("reboot", "wrap", "jump"):
        return _begin(state, seq, received_unix_ns, entropy5), BootMatch(entropy5, seq, True, why)
    if why == "late_previous":
        return state, BootMatch(state.previous_nonce, seq, False, why)
    advance = max(seq - state.highest, 0)
    highest = state.highest + advance
    seen = (state.seen << min(advance, WINDOW)) & _SEEN_MASK | 1 << highest - seq
    kept = state._replace(last_seq=seq, highest=highest, seen=seen, last_unix_ns=received_unix_ns)
    return kept, BootMatch(state.boot_nonce, seq, False, why)


def _classify(state: BootState | None, seq: int, received_unix_ns: int) -> str:
    """Name the row of the table that fits."""
    if state is None:
        return "first"
    forward = seq - state.highest
    if forward == 1:
        return "next"
    if (forward > NEAR or forward <= -WINDOW) and _belongs_to_previous(state, seq, received_unix_ns):
        return "late_previous"
    if forward > MAX_GAP:
        return "jump"
    if forward > 0:
        return "gap"
    if forward > -WINDOW:
        return _classify_in_window(state, seq, -forward, received_unix_ns)
    return "wrap" if forward + 2**32 <= WINDOW else "reboot"


def _classify_in_window(state: BootState, seq: int, behind: int, received_unix_ns: int) -> str:
    """Distinguish a late, a repeated and a restarting number; `behind` is 0..63."""
    seen = state.seen >> behind & 1
    if seq <= _FIRST_SEQ:
        if received_unix_ns - state.began_unix_ns > RESTART_AFTER_NS:
            return "reboot"
        if not seen and behind > NEAR:
            return "reboot"
    return "duplicate" if seen else "late"


def _belongs_to_previous(state: BootState, seq: int, received_unix_ns: int) -> bool:
    """Whether this is a straggler of the boot before: redelivered, or queued when the new boot had begun."""
    return (
        state.previous_nonce != _NO_NONCE
        and -NEAR <= state.previous_highest - seq < WINDOW
        and received_unix_ns - state.previous_unix_ns <= PREVIOUS_KEPT_NS
    )


def _begin(state: BootState | None, seq: int, received_unix_ns: int, nonce: bytes) -> BootState:
    """Begin a boot, and remember the one before."""
    begun = BootState(nonce, seq, seq, 1, received_unix_ns, received_unix_ns)
    if state is None:
        return begun
    return begun._replace(
        previous_nonce=state.boot_nonce, previous_highest=state.highest, previous_unix_ns=received_unix_ns
    )


def pack(state: BootState) -> bytes:
    """Write a state for the ledger: 55 bytes, the first of them the format's version."""
    return _PACKED.pack(_VERSION, *state)


def unpack(data: bytes) -> BootState:
    """Read a state that `pack` wrote.

    Raises:
        ValueError: the length or the version is another; the remedy is to treat the device as not seen before.
    """
    if len(data) != _PACKED.size or data[0] != _VERSION:
        raise ValueError(
            f"boot state of {len(data)} bytes, version {data[:1].hex() or 'none'}; "
            f"{_PACKED.size} bytes of version {_VERSION:02x} are needed: forget it and begin anew"
        )
    return BootState(*_PACKED.unpack(data)[1:])
