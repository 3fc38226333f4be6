"""What can be set about a decorated handler, on every platform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import Tracer, TracerProvider, get_tracer, get_tracer_provider

from motetrace_host import __version__
from motetrace_host.stages.stage import count, flag, named

MAX_FLUSH_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class FunctionOptions:
    """As given to a decorator.

    Args:
        name: function.name; None for the platform's name of the function.
        link_only: begin a trace of its own that links to the message's.
        flush_ms: how long to wait for spans to be exported at the end, 0..60,000; 0 not at all.
        tracer_provider: None for the global one, looked up at each invocation.
    Raises:
        TypeError, ValueError: one is of another type or out of range.
    """

    name: str | None
    link_only: bool
    flush_ms: int
    tracer_provider: TracerProvider | None

    def __post_init__(self) -> None:
        if self.name is not None:
            named("function name", self.name)
        flag("link_only", self.link_only)
        count("flush_ms", self.flush_ms, MAX_FLUSH_MS)

    @property
    def provider(self) -> TracerProvider:
        """Where spans come from and are flushed to."""
        return get_tracer_provider() if self.tracer_provider is None else self.tracer_provider

    @property
    def tracer(self) -> Tracer:
        """The tracer of the invocations."""
        return get_tracer("motetrace", __version__, self.provider)

    def function_name(self, handler: Callable[..., Any], context: Any) -> str:
        """Return function.name: the one given, else the platform's, else the handler's own."""
        own = getattr(handler, "__name__", type(handler).__name__)
        return self.name or str(getattr(context, "function_name", "") or own)
