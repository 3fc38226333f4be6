"""A day in the life of a device: every message accounted for, and the heap where it began, to the byte."""

import json
from pathlib import Path

import pytest

from tests.device import interpreters

SCENARIO = Path(__file__).with_name("scenarios") / "day.py"


@pytest.mark.parametrize("interpreter", interpreters.NAMES)
def test_after_a_day_every_message_is_accounted_for_and_the_heap_is_where_it_began(interpreter: str) -> None:
    done = interpreters.run(interpreter, SCENARIO)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    day = json.loads(done.stdout.splitlines()[-1])
    assert day["assigned"] >= 100_000
    assert day["ms"] >= 24 * 3600 * 1000
    assert day["boots"] > 10
    assert day["wraps"] > 5
    assert day["outages"] > 10
    assert day["assigned"] == day["acked"] + day["failed"] + day["lost"] + day["pending"] + day["at_most_once"]
    assert min(day["acked"], day["failed"], day["lost"], day["pending"]) > 0
    assert day["ended"] == day["begun"]
    assert (day["begun"] > 0) == (interpreter != "cpython")
