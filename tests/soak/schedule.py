"""Which fault befalls what and when, drawn from a seed: the same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One fault. `length_s` is how long it lasts; `amount` belongs to the kind (bytes, s, ms)."""

    at_s: float
    target: str
    kind: str
    length_s: float
    amount: int = 0


class Kind(NamedTuple):
    """How one kind of fault is drawn: lengths and amounts between two bounds."""

    name: str
    length_s: tuple[float, float]
    amount: tuple[int, int] = (0, 0)


class Plague(NamedTuple):
    """What one sort of target suffers: its kinds, and the pause from one fault to the next."""

    kinds: tuple[Kind, ...]
    pause_s: tuple[float, float]


BROKER_KILL = Kind("kill -9", (0.1, 2.0))
PLAGUES = {
    "shim": Plague(
        (
            Kind("kill -9", (0.0, 3.0)),
            Kind("kill -9 in a rush", (0.5, 2.0), (1, 60)),
            Kind("kill -9 without room", (0.3, 1.0)),
            Kind("SIGTERM", (0.0, 2.0)),
            Kind("stall", (0.5, 5.0)),
        ),
        (2.0, 8.0),
    ),
    "broker": Plague((Kind("restart", (0.0, 2.0)), BROKER_KILL), (8.0, 20.0)),
    "redis": Plague((Kind("kill -9", (0.1, 4.0)), Kind("restart", (0.0, 2.0)), Kind("stall", (0.5, 4.0))), (6.0, 15.0)),
    "backend": Plague(
        (
            Kind("slow", (2.0, 6.0)),
            Kind("503", (1.0, 5.0), (0, 2)),
            Kind("429", (1.0, 5.0), (1, 2)),
            Kind("500", (0.3, 2.0)),
            Kind("gone", (0.5, 6.0)),
            Kind("answer lost", (0.5, 3.0)),
            Kind("no answer", (11.0, 12.0)),
        ),
        (2.0, 8.0),
    ),
    "disk": Plague((Kind("no room", (0.5, 6.0), (0, 1 << 18)), Kind("full", (0.5, 6.0), (0, 1 << 20))), (6.0, 20.0)),
    "clock": Plague((Kind("forward", (0, 0), (60, 900)), Kind("back", (0, 0), (60, 900))), (6.0, 15.0)),
}


def draw(seed: int, seconds: float, targets: Sequence[str], *, pace: float = 1.0, bare: bool = False) -> list[Fault]:
    """Draw the plan.

    Args:
        seconds: no fault begins later.
        targets: such as `shim 0`; the first word says what they suffer.
        pace: multiplies the pauses: 0.5 is twice as many faults.
        bare: leave out what a bare seq cannot bear, see `Fleet`.
    """
    faults = [fault for target in targets for fault in _of(target, random.Random(f"{seed}/{target}"), pace, bare)]
    return sorted(fault for fault in faults if fault.at_s < seconds)


def _of(target: str, chance: random.Random, pace: float, bare: bool) -> Iterator[Fault]:
    plague = PLAGUES[target.partition(" ")[0]]
    at_s = 0.0
    while at_s < 36_000:
        # Like cards: each kind once before one comes again, so that a short soak has them all.
        deck = [kind for kind in plague.kinds if not (bare and kind is BROKER_KILL)]
        chance.shuffle(deck)
        for kind in deck:
            at_s += chance.uniform(*plague.pause_s) * pace
            length_s = chance.uniform(*kind.length_s)
            yield Fault(at_s, target, kind.name, length_s, chance.randint(*kind.amount))
            at_s += length_s
