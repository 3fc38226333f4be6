"""Two devices under one id, noticed by their boots taking turns.

A device that reboots leaves its old boot nonce for good; two devices that share an id (a cloned image, a copied
configuration) come back to theirs again and again. `observe` takes what is known of one device id and the boot of its
next message, and is certain at the third return to an older boot within RETURNS_WITHIN_MS. The number of messages
between two turns plays no part.

A return does not count while the newer boot is younger than STRAGGLER_MS: messages of the old boot that were on their
way may still come, mixed with the first ones of the new boot.

What cannot be distinguished: one device that, between its new messages, sends stored ones which its previous boot had
numbered, over more than STRAGGLER_MS and in at least three portions. And three things are not noticed: clones that take
turns less often than RETURNS_WITHIN_MS / 3; clones of which more than MAX_BOOTS - 1 new boots are seen between two
messages of the other; clones that send a bare seq, whose boots are inferred and look like reboots.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_BOOTS: Final = 4
RETURNS: Final = 3
RETURNS_WITHIN_MS: Final = 10 * 60_000
STRAGGLER_MS: Final = 10_000


class BootBegin(NamedTuple):
    """A boot, when its first message came, and its place among the boots of its device id: 1, 2, ..."""

    boot_nonce: bytes
    began_unix_ms: int
    number: int


class BootTurns(NamedTuple):
    """What is remembered of one device id between two messages: at most 4 boots and 2 times.

    Args:
        current: The boot of the last message. While the next one's is the same, `observe` need not be called.
        boots: Those that sent something last, the current one at the end.
        returns_unix_ms: When the last returns to an older boot came; those that count.
        reported_unix_ms: When the last return came that belongs to a pair already reported; 0 if none is.
    """

    current: bytes
    boots: tuple[BootBegin, ...]
    returns_unix_ms: tuple[int, ...] = ()
    reported_unix_ms: int = 0


class Clones(NamedTuple):
    """Two boots that take turns: `older` began first, `newer` was the one that was left at the last return."""

    older: bytes
    newer: bytes


def observe(turns: BootTurns | None, boot_nonce: bytes, at_unix_ms: int) -> tuple[BootTurns, Clones | None]:
    """Take the next message of a device id.

    Args:
        turns: What the last call for this device id returned; None for one not seen before.
        boot_nonce: 5 bytes, of the message.
        at_unix_ms: Its receive time. After a clock step back fewer returns count, never more.
    Returns:
        What to remember, and the two boots at the moment at which it becomes certain that they are two devices. They
        are named again only after RETURNS_WITHIN_MS without a return.
    """
    if turns is None:
        return BootTurns(boot_nonce, (BootBegin(boot_nonce, at_unix_ms, 1),)), None
    if boot_nonce == turns.current:
        return turns, None
    left = turns.boots[-1]
    others = [boot for boot in turns.boots if boot.boot_nonce != boot_nonce]
    known = [boot for boot in turns.boots if boot.boot_nonce == boot_nonce]
    entered = known[0] if known else BootBegin(boot_nonce, at_unix_ms, max(boot.number for boot in turns.boots) + 1)
    turns = turns._replace(current=boot_nonce, boots=(*others, entered)[-MAX_BOOTS:])
    if entered.number > left.number or at_unix_ms - left.began_unix_ms <= STRAGGLER_MS:
        return turns, None
    return _count(turns, Clones(boot_nonce, left.boot_nonce), at_unix_ms)


def _count(turns: BootTurns, pair: Clones, at_unix_ms: int) -> tuple[BootTurns, Clones | None]:
    """Count a return to `pair.older`."""
    if turns.reported_unix_ms and 0 <= at_unix_ms - turns.reported_unix_ms <= RETURNS_WITHIN_MS:
        return turns._replace(reported_unix_ms=at_unix_ms), None
    recent = [then for then in turns.returns_unix_ms if 0 <= at_unix_ms - then <= RETURNS_WITHIN_MS]
    if len(recent) + 1 < RETURNS:
        return turns._replace(returns_unix_ms=(*recent, at_unix_ms), reported_unix_ms=0), None
    return turns._replace(returns_unix_ms=(), reported_unix_ms=at_unix_ms), pair
