"""The decorator for an Azure Functions handler, plain or `async`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, overload

from opentelemetry.trace import TracerProvider

from motetrace_host.functions import azure_events
from motetrace_host.functions.cold_start import cold_start
from motetrace_host.functions.flush import flush
from motetrace_host.functions.invocation import Invocation, begin, end
from motetrace_host.functions.options import FunctionOptions
from motetrace_host.stages.stage import Value

Handler = TypeVar("Handler", bound=Callable[..., Any])
Begin = Callable[[tuple[Any, ...], dict[str, Any]], Invocation | None]

DEFAULT_FLUSH_MS: Final = 0  # Azure's worker is not frozen between invocations: the SDK's batch processor gets its time


@overload
def traced_azure_function(handler: Handler, /) -> Handler: ...
@overload
def traced_azure_function(
    *,
    name: str | None = None,
    link_only: bool = False,
    flush_ms: int = DEFAULT_FLUSH_MS,
    tracer_provider: TracerProvider | None = None,
) -> Callable[[Handler], Handler]: ...
def traced_azure_function(
    handler: Any = None,
    /,
    *,
    name: str | None = None,
    link_only: bool = False,
    flush_ms: int = DEFAULT_FLUSH_MS,
    tracer_provider: TracerProvider | None = None,
) -> Any:
    """Make each invocation of an Azure Functions handler a `transform_store` span.

        @app.event_hub_message_trigger(arg_name="events", event_hub_name="...", connection="...", cardinality="many")
        @traced_azure_function
        def clean(events: list[func.EventHubEvent], context: func.Context) -> None: ...

    Put it under the triggers: the worker inspects names and annotations of the parameters, and sees the handler's own.
    Triggers it knows: IoT Hub and Event Hubs (one or many), Service Bus, HTTP, timer; others are traced without a
    parent.

    Args:
        name: function.name; default the context's function_name when the handler takes `context`, else its own name.
        link_only: begin a trace of its own that links to the message's.
        flush_ms: how long to wait for spans to be exported at the end, 0..60,000; 0 leaves that to the SDK.
        tracer_provider: default the global one, looked up at each invocation.
    Raises:
        TypeError, ValueError: an argument is of another type or out of range.
    Source: docs/cloud.md, "Azure IoT Hub".
    """
    options = FunctionOptions(name, link_only, flush_ms, tracer_provider)
    return _decorated(options, handler) if handler else functools.partial(_decorated, options)


def _decorated(options: FunctionOptions, handler: Handler) -> Handler:
    parameters = inspect.signature(handler)

    def begin_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Invocation | None:
        def make() -> Invocation:
            arguments = parameters.bind(*args, **kwargs).arguments
            context = arguments.get("context")
            name = options.function_name(handler, context)
            return Invocation(
                azure_events.read(arguments.values()),
                name=name,
                cold_start=cold_start(),
                attributes=_platform(context, name, os.environ),
                link_only=options.link_only,
                tracer=options.tracer,
            )

        return begin(make)

    wrap = _async if inspect.iscoroutinefunction(handler) else _plain
    return cast(Handler, wrap(options, handler, begin_call))


def _plain(options: FunctionOptions, handler: Callable[..., Any], begin_call: Begin) -> Callable[..., Any]:
    @functools.wraps(handler)
    def traced(*args: Any, **kwargs: Any) -> Any:
        running, result, failed = begin_call(args, kwargs), None, None
        try:
            result = handler(*args, **kwargs)
        except BaseException as error:
            failed = error
            raise
        finally:
            end(running, result, failed)
            flush(options.provider, options.flush_ms)
        return result

    return traced


def _async(options: FunctionOptions, handler: Callable[..., Any], begin_call: Begin) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def traced(*args: Any, **kwargs: Any) -> Any:
        running, result, failed = begin_call(args, kwargs), None, None
        try:
            result = await handler(*args, **kwargs)
        except BaseException as error:
            failed = error
            raise
        finally:
            end(running, result, failed)
            if options.flush_ms:  # in a thread: other invocations share the event loop
                await asyncio.to_thread(flush, options.provider, options.flush_ms)
        return result

    return traced


def _platform(context: Any, name: str, environment: Mapping[str, str]) -> dict[str, Value]:
    """Return what Azure says of itself, by OpenTelemetry's names."""
    app = environment.get("WEBSITE_SITE_NAME")
    subscription = environment.get("WEBSITE_OWNER_NAME", "").partition("+")[0]
    group = environment.get("WEBSITE_RESOURCE_GROUP")
    function = str(getattr(context, "function_name", "") or name)
    resource = None
    if app and subscription and group:
        site = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{app}"
        resource = f"{site}/functions/{function}"
    known: dict[str, object] = {
        "cloud.provider": "azure",
        "cloud.platform": "azure.functions",
        "cloud.region": environment.get("REGION_NAME"),
        "cloud.account.id": subscription,
        "cloud.resource_id": resource,
        "faas.name": f"{app}/{function}" if app else function,
        "faas.instance": environment.get("WEBSITE_INSTANCE_ID"),
        "faas.invocation_id": getattr(context, "invocation_id", None),
    }
    return {name: value for name, value in known.items() if isinstance(value, str) and value}
