"""One invocation of a function as a span, and how the handler reaches it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any, Final

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from motetrace_host.core.wire.json_members import strip
from motetrace_host.functions.call import Call
from motetrace_host.functions.record import FunctionRecord
from motetrace_host.stages.incoming import Incoming, read
from motetrace_host.stages.stage import Value, readable
from motetrace_host.stages.transform import TransformStore

MAX_LINKS: Final = 128  # OpenTelemetry's default limit of a span; reading for more would cost and be dropped
_log = logging.getLogger("motetrace")


class Invocation(TransformStore):
    """A running `transform_store` span (SERVER) of one invocation.

    It is a child of the message's span and links to it. Of a batch it links to the messages, at most 128, and is a
    root, or a child of the span that another instrumentation opened.

    Attributes:
        records: the messages of a batch, in their order; empty for a single message.
    """

    def __init__(
        self,
        call: Call,
        *,
        name: str,
        cold_start: bool,
        attributes: Mapping[str, Value],
        link_only: bool,
        tracer: Tracer,
    ) -> None:
        super().__init__(call.message, name, cold_start, SpanKind.SERVER, link_only, tracer)
        told = {"faas.trigger": call.trigger, **call.attributes, **attributes}
        # A lone surrogate in one attribute would cost the whole batch of spans its export.
        self._attributes |= {key: readable(value) if isinstance(value, str) else value for key, value in told.items()}
        self._call = call
        items = call.items or ()
        self.records = tuple(FunctionRecord(item, self, name, call.attributes) for item in items)
        if items:
            self._link_to_all()
        self._outer: Token[Invocation] | None = None

    @property
    def payload(self) -> bytes:
        """The message's payload without tracing members in front; an event's members as JSON where it is those."""
        return super().payload if self._call.event is None else strip(msgspec.json.encode(self._call.event))

    def returned(self, result: Any) -> None:
        """Take note of what the handler returned: an HTTP status, the failures in a batch. It is not changed."""
        status = result.get("statusCode") if isinstance(result, Mapping) else getattr(result, "status_code", None)
        if self._call.trigger == "http" and str(status).isdecimal():
            self.span.set_attribute("http.response.status_code", int(str(status)))
            if int(str(status)) >= 500:
                self.span.set_attribute("error.type", str(status))
                self.span.set_status(Status(StatusCode.ERROR))
        failures = result.get("batchItemFailures") if isinstance(result, Mapping) else None
        if self.records and isinstance(failures, list):
            self.span.set_attribute("function.batch_item_failures", len(failures))

    def _link_to_all(self) -> None:
        read_all = [read(record.message, Context()) for record in self.records[:MAX_LINKS]]
        self._links = [Link(each.remote) for each in read_all if each.remote is not None]
        if not self._links:
            self._attributes["trace.origin"] = read_all[0].origin

    def _describe(self, incoming: Incoming) -> None:
        given = dict(self._attributes)
        super()._describe(incoming)
        if self._call.trigger in ("http", "other"):  # nothing says that a message is behind it
            for name in [name for name in self._attributes if name.startswith("messaging.")]:
                del self._attributes[name]
        if self._call.template is not None:
            self._attributes["messaging.destination.template"] = self._call.template
        self._attributes |= given

    def __enter__(self) -> Invocation:
        super().__enter__()
        self._outer = _RUNNING.set(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._outer is not None:
            _RUNNING.reset(self._outer)
            self._outer = None
        super().__exit__(*error)


_RUNNING: ContextVar[Invocation] = ContextVar("motetrace-invocation")


def invocation() -> Invocation:
    """Return the invocation that the calling handler runs in.

    Raises:
        RuntimeError: no decorated handler is running.
    """
    try:
        return _RUNNING.get()
    except LookupError:
        raise RuntimeError("no invocation is running; decorate the handler, and call this inside it") from None


def begin(make: Callable[[], Invocation]) -> Invocation | None:
    """Open an invocation's span; None, and a line in the log, when that fails: the handler runs all the same."""
    try:
        return make().__enter__()
    except Exception:  # noqa: BLE001 (whatever is wrong here, the function does its work)
        _log.exception("motetrace: an invocation runs without its span")
        return None


def end(running: Invocation | None, result: Any, error: BaseException | None) -> None:
    """Close an invocation's span; never raises."""
    if running is None:
        return
    try:
        if error is None:
            running.returned(result)
        running.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)
    except Exception:  # noqa: BLE001 (the handler's own result or exception goes on, not ours)
        _log.exception("motetrace: an invocation's span was not ended")
