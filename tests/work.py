"""How much work something is, on a machine that others use too: processor time and calls, never time by the clock."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType


def processor_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Processor time that this thread spends on some work: the least of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best


def calls(work: Callable[[], object]) -> int:
    """How many Python functions some work calls; the same number each time."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def processor_seconds_of(command: Sequence[object]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Processor time of a child and of all that it starts, and what it printed; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done
