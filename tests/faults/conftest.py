"""Shims to be killed, and fleets that publish meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.shim_process import ShimProcess


@pytest.fixture
def make_shim(tmp_path: Path) -> Iterator[Callable[..., ShimProcess]]:
    """Makes shims: `make_shim(port, *options, name="state")`; all are killed at the end."""
    made: list[ShimProcess] = []

    def make(port: int, *options: str, name: str = "state", topic: str | None = None) -> ShimProcess:
        more = {"topic": topic} if topic else {}
        made.append(ShimProcess(port, tmp_path / name, *options, **more))
        return made[-1]

    yield make
    for shim in made:
        shim.kill()
