"""Pipelines that fill a database, as in tests/host/app; and the command line."""

import pytest
from click.testing import CliRunner, Result

from motetrace_host.cli import main
from tests.host.app.conftest import bench, make_bench

__all__ = ["bench", "make_bench"]


def command(*words: str) -> Result:
    """Type a command."""
    return CliRunner().invoke(main, words, env={"MOTETRACE_STATE": None})


@pytest.fixture(autouse=True)
def nobodys_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command looks at this user's own state folder by mistake."""
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent")
