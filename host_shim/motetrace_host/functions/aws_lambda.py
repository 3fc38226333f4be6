"""The decorator for an AWS Lambda handler."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, overload

from opentelemetry.trace import TracerProvider

from motetrace_host.functions import aws_events
from motetrace_host.functions.aws_events import RuleMembers
from motetrace_host.functions.cold_start import cold_start
from motetrace_host.functions.flush import flush
from motetrace_host.functions.invocation import Invocation, begin, end
from motetrace_host.functions.options import FunctionOptions
from motetrace_host.stages.stage import Value

Handler = TypeVar("Handler", bound=Callable[..., Any])

DEFAULT_FLUSH_MS: Final = 1000
DEFAULT_MEMBERS: Final = RuleMembers()
LEFT_FOR_THE_ANSWER_MS: Final = 100


@overload
def traced_lambda(handler: Handler, /) -> Handler: ...
@overload
def traced_lambda(
    *,
    name: str | None = None,
    members: RuleMembers = DEFAULT_MEMBERS,
    link_only: bool = False,
    flush_ms: int = DEFAULT_FLUSH_MS,
    tracer_provider: TracerProvider | None = None,
) -> Callable[[Handler], Handler]: ...
def traced_lambda(
    handler: Any = None,
    /,
    *,
    name: str | None = None,
    members: RuleMembers = DEFAULT_MEMBERS,
    link_only: bool = False,
    flush_ms: int = DEFAULT_FLUSH_MS,
    tracer_provider: TracerProvider | None = None,
) -> Any:
    """Make each invocation of a Lambda handler a `transform_store` span; `@traced_lambda` or `@traced_lambda(...)`.

    Events it knows: an IoT rule's output, batches from SQS, Kinesis and SNS, HTTP requests from API Gateway (both
    formats) and function URLs. Others are traced without a parent. The handler's result and exceptions pass unchanged.

    Args:
        name: function.name; default the context's function_name.
        members: under which names the rule's SQL puts topic, device and binary payload.
        link_only: begin a trace of its own that links to the message's.
        flush_ms: how long to wait for spans to be exported before the process is frozen, 0..60,000; 0 not at all. Never
            longer than the invocation's remaining time.
        tracer_provider: default the global one, looked up at each invocation.
    Raises:
        TypeError, ValueError: an argument is of another type or out of range.
    Source: docs/cloud.md, "AWS IoT Core".
    """
    options = FunctionOptions(name, link_only, flush_ms, tracer_provider)
    return _decorated(options, members, handler) if handler else functools.partial(_decorated, options, members)


def _decorated(options: FunctionOptions, members: RuleMembers, handler: Handler) -> Handler:
    @functools.wraps(handler)
    def traced(event: Any, context: Any, *more: Any, **further: Any) -> Any:
        def make() -> Invocation:
            return Invocation(
                aws_events.read(event, members),
                name=options.function_name(handler, context),
                cold_start=cold_start(),
                attributes=_platform(context, os.environ),
                link_only=options.link_only,
                tracer=options.tracer,
            )

        running, result, failed = begin(make), None, None
        try:
            result = handler(event, context, *more, **further)
        except BaseException as error:
            failed = error
            raise
        finally:
            end(running, result, failed)
            flush(options.provider, _time_for_flush_ms(context, options.flush_ms))
        return result

    return cast(Handler, traced)


def _platform(context: Any, environment: Mapping[str, str]) -> dict[str, Value]:
    """Return what Lambda says of itself, by OpenTelemetry's names."""
    arn = getattr(context, "invoked_function_arn", None)
    parts = arn.split(":") if isinstance(arn, str) else []
    version = getattr(context, "function_version", None)
    known: dict[str, object] = {
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": environment.get("AWS_REGION") or (parts[3] if len(parts) > 6 else None),
        "cloud.account.id": parts[4] if len(parts) > 6 else None,
        "cloud.resource_id": _resource(parts, version),
        "aws.lambda.invoked_arn": arn,
        "faas.name": getattr(context, "function_name", None) or environment.get("AWS_LAMBDA_FUNCTION_NAME"),
        "faas.version": version,
        "faas.instance": environment.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        "faas.invocation_id": getattr(context, "aws_request_id", None),
    }
    return {name: value for name, value in known.items() if isinstance(value, str) and value}


def _resource(parts: list[str], version: object) -> str | None:
    """Return the function's ARN with the version in place of an alias: an alias names another function tomorrow."""
    if len(parts) == 8 and isinstance(version, str) and version:
        return ":".join([*parts[:7], version])
    return ":".join(parts) if len(parts) in (7, 8) else None


def _time_for_flush_ms(context: Any, flush_ms: int) -> int:
    try:
        left = int(context.get_remaining_time_in_millis()) - LEFT_FOR_THE_ANSWER_MS
    except Exception:  # noqa: BLE001 (a context of another make)
        return flush_ms
    return max(0, min(flush_ms, left))
