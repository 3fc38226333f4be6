"""Traces a program that uses paho-mqtt and knows nothing of it: `opentelemetry-instrument python rule_engine.py`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import get_tracer
from paho.mqtt.client import Client

from motetrace_host import __version__
from motetrace_host.core.mqtt.topics import SLOT
from motetrace_host.otel import paho_options
from motetrace_host.otel.paho_carriage import Carriage
from motetrace_host.otel.paho_options import PahoOptions
from motetrace_host.otel.paho_tracing import Tracing
from motetrace_host.otel.propagator import MotetracePropagator
from motetrace_host.stages import settings

# The minor versions whose `_handle_on_message` was read and tested: it is not a public name.
SUPPORTED: Final = ("paho-mqtt >= 2.1, < 2.3",)


class Patch:
    """One method of a class, replaced until `remove`.

    When somebody else has wrapped the method since, it is left in place and only calls through.
    """

    def __init__(self, owner: type, name: str, around: Callable[..., Any]) -> None:
        original = owner.__dict__[name]

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if self._on else original(*args, **kwargs)

        self._on = True
        self._owner, self._name, self._original, self._patched = owner, name, original, patched
        setattr(owner, name, patched)

    def remove(self) -> None:
        """Put the original back."""
        self._on = False
        if self._owner.__dict__[self._name] is self._patched:
            setattr(self._owner, self._name, self._original)


class PahoMqttInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """The entry point `paho_mqtt` of `opentelemetry_instrumentor`."""

    _patches: tuple[Patch, ...] = ()
    _settings: tuple[settings.Settings, settings.Settings] | None = None  # before and since

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the paho versions that this works with."""
        return SUPPORTED

    def _instrument(self, **kwargs: Any) -> None:
        """Patch paho's Client.

        Args:
            tracer_provider: default the global one.
            propagator: what stands in user properties; default the one that OTEL_PROPAGATORS names, else `motetrace`.
            link_only, link_only_topics, payload_member, topics: see `paho_options`.
        Raises:
            ValueError: an option is broken; names it.
        """
        options = paho_options.load(
            link_only=kwargs.get("link_only"),
            link_only_topics=kwargs.get("link_only_topics"),
            payload_member=kwargs.get("payload_member"),
            topics=kwargs.get("topics"),
        )
        propagator = kwargs.get("propagator") or _propagator()
        self._settings = _find_devices_by(options)
        tracer = get_tracer("motetrace.paho_mqtt", __version__, kwargs.get("tracer_provider"))
        tracing = Tracing(tracer, options, Carriage(options, propagator))
        self._patches = (
            Patch(Client, "publish", tracing.publish),
            Patch(Client, "will_set", tracing.will_set),
            Patch(Client, "_handle_on_message", tracing.handle_on_message),
        )

    def _uninstrument(self, **kwargs: Any) -> None:
        """Take the patches off; clients and their callbacks were never changed."""
        patches, self._patches = self._patches, ()
        for patch in patches:
            patch.remove()
        if self._settings is not None and settings.current() is self._settings[1]:
            before = self._settings[0]
            _configure_again(before, [topic.template for topic in before.topics])
        self._settings = None


def _find_devices_by(options: PahoOptions) -> tuple[settings.Settings, settings.Settings] | None:
    """Let templates with `{device_id}` say which device a seqref is of; return the settings before and since."""
    templates = [template for template in options.topics.templates if SLOT in template.split("/")]
    if not templates:
        return None
    before = settings.current()
    _configure_again(before, templates)
    return before, settings.current()


def _configure_again(before: settings.Settings, templates: list[str]) -> None:
    settings.configure(
        key=before.key,
        tenant=before.tenant,
        topics=templates,
        baggage_allow=["*"] if before.baggage.allow is None else before.baggage.allow,
        baggage_max_bytes=before.baggage.max_bytes,
    )


def _propagator() -> TextMapPropagator:
    """Return the operator's choice where one was made; OpenTelemetry's default is looser than W3C, so it is none."""
    if os.environ.get("OTEL_PROPAGATORS", "").strip() in ("", "motetrace"):
        return MotetracePropagator()
    return get_global_textmap()
