"""Each test gets its own recording SDK and its own settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from motetrace_host import stages
from motetrace_host.stages import reporting, settings
from tests.host.stages.stage_recorder import KEY, Recorder


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


@pytest.fixture(autouse=True)
def settings_of_each_test_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("KEY_FILE", "TENANT", "REPORT", "REPORTER", "PREFIX", "USERNAME", "PASSWORD_FILE", "CA_FILE"):
        monkeypatch.delenv(f"MOTETRACE_{name}", raising=False)
    monkeypatch.setattr(settings, "_settings", None)
    stages.configure(key=KEY, tenant="acme")
    yield
    reporting.begin(None)
