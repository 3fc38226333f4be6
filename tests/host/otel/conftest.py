"""Each test gets its own recording SDK, its own settings, and paho as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from paho.mqtt.client import Client

from motetrace_host import stages
from motetrace_host.otel.paho_instrumentor import PahoMqttInstrumentor
from motetrace_host.stages import settings as stage_settings
from tests.host.stages.stage_recorder import KEY, Recorder

settings.register_profile("no_clocks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no_clocks")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


@pytest.fixture
def instrument(recorder: Recorder) -> Iterator[Callable[..., PahoMqttInstrumentor]]:
    """Instruments paho with this test's SDK: `instrument(link_only=True)`; taken off at the end."""
    before = dict(vars(Client))
    instrumentor = PahoMqttInstrumentor()

    def instrument(**options: Any) -> PahoMqttInstrumentor:
        instrumentor.instrument(tracer_provider=recorder.provider, **options)
        assert instrumentor.is_instrumented_by_opentelemetry
        return instrumentor

    yield instrument
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert dict(vars(Client)) == before


@pytest.fixture(autouse=True)
def settings_of_each_test_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    paho = ("PAHO_LINK_ONLY", "PAHO_LINK_ONLY_TOPICS", "PAHO_PAYLOAD_MEMBER", "PAHO_TOPICS")
    for name in ("KEY_FILE", "TENANT", "BAGGAGE_ALLOW", "BAGGAGE_MAX_BYTES", *paho):
        monkeypatch.delenv(f"MOTETRACE_{name}", raising=False)
    monkeypatch.delenv("OTEL_PROPAGATORS", raising=False)
    monkeypatch.setattr(stage_settings, "_settings", None)
    stages.configure(key=KEY, tenant="acme")
    return
