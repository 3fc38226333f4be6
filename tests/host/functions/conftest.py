"""Each test gets its own recording SDK, its own settings, and a process that has not been invoked yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from motetrace_host import stages
from motetrace_host.functions import cold_start
from motetrace_host.stages import settings
from tests.host.stages.stage_recorder import KEY, Recorder

ENVIRONMENT = (
    "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "WEBSITE_SITE_NAME", "WEBSITE_OWNER_NAME", "WEBSITE_RESOURCE_GROUP", "WEBSITE_INSTANCE_ID", "REGION_NAME",
    "MOTETRACE_KEY_FILE", "MOTETRACE_TENANT", "MOTETRACE_BAGGAGE_ALLOW", "MOTETRACE_BAGGAGE_MAX_BYTES",
)  # fmt: skip


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


@pytest.fixture(autouse=True)
def a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cold_start, "_first", threading.Lock())
    monkeypatch.setattr(settings, "_settings", None)
    stages.configure(key=KEY, tenant="acme")
