"""Waiting for another thread or process: one helper, and one limit after which a test gives up.

The limit is no promise of how fast anything is: on a busy machine everything takes longer.
"""

import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_S = 60.0
_PAUSE_S = 0.01
T = TypeVar("T")


def until(condition: Callable[[], T], what: str | Callable[[], str] = "it comes about", limit_s: float = LIMIT_S) -> T:
    """Call `condition` until its value is true, and give that; fails with `what` after the limit."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(_PAUSE_S)
    return value
