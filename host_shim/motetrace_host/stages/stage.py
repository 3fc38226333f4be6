"""What every stage shares: a span that is current inside a `with`, and says so when its work failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from motetrace_host.core.messages import message_number
from motetrace_host.core.messages.message_number import MessageNumber
from motetrace_host.core.wire.json_members import strip
from motetrace_host.stages import reporting, settings
from motetrace_host.stages.incoming import Incoming, Message, raw_context, read

TEXT_MAX = 4096

Value = str | bool | int | float


class Stage:
    """One span around one step of a reading's way; made by `rule_evaluate`, `transform_store` and `db_write`.

    At its end the message is counted at its hop, sampled or not, where `stages.configure(report=...)` is on: as
    `failed` after an exception or `fail`, as `filtered` when a rule did not match. A retained copy is not counted.

    Attributes:
        span: the OpenTelemetry span, for attributes and events of the application's own; current inside the `with`.
    """

    span: Span
    _hop = ""
    _failed = False
    _context: Context
    _links: Sequence[Link] = ()  # besides the one to the message
    _link_only_parent: Span = trace.INVALID_SPAN
    _number: MessageNumber | None = None
    _is_counted = True

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Value],
        message: Message | None,
        link_only: bool,
        tracer: Tracer | None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = dict(attributes)
        self._link_only = link_only
        self._tracer = tracer
        self._message = message
        self._token: Token[Context] | None = None

    @property
    def payload(self) -> bytes:
        """The message's payload without the tracing members that came in it; empty when there is no message."""
        return b"" if self._message is None else strip(bytes(self._message.payload))

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError(f"this {self._name} is already running; make a new one for each message")
        context, links = get_current(), list(self._links)
        if self._message is not None:
            incoming = read(self._message, context)
            context = incoming.context
            self._describe(incoming)
            self._number, self._is_counted = incoming.number, not incoming.retained
            if incoming.remote is not None:
                links.append(Link(incoming.remote))
                if self._link_only:
                    context = trace.set_span_in_context(self._link_only_parent, context)
        else:
            settings.current()  # with a message, reading it has done so
            if reporting.current() is not None:
                self._number, self._is_counted = _number_within(context)
        self.span = self.tracer.start_span(self._name, context, self._kind, self._attributes, links)
        self._context = trace.set_span_in_context(self.span, context)
        self._token = attach(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.span.record_exception(error)
                self._fail(readable(str(error)) or type(error).__name__, type(error).__qualname__)
            self._finish(error is not None)
        finally:
            if self._token is not None:
                detach(self._token)
                self._token = None
            self.span.end()
            hops = reporting.current()
            if hops is not None and self._is_counted:
                hops.count(self._hop, self._outcome(), self._number)

    def fail(self, text: str, error_type: str) -> None:
        """Mark the stage as failed where its work answers with an error instead of an exception.

        Args:
            text: what went wrong, such as the database's own words; the first 4096 characters are kept.
            error_type: of low cardinality, such as the status code.
        """
        self._fail(readable(str(text)), named("error type", error_type))

    @property
    def tracer(self) -> Tracer:
        """The tracer of this span and of those inside it: the one that was given, else the global one."""
        return trace.get_tracer("motetrace") if self._tracer is None else self._tracer

    @property
    def context(self) -> Context:
        """The context to inject: the current one when it is of this trace, else (another thread) this span's own."""
        current = get_current()
        trace_id = trace.get_current_span(current).get_span_context().trace_id
        return current if trace_id == self.span.get_span_context().trace_id else self._context

    def _describe(self, incoming: Incoming) -> None:
        """Add what the message tells to the attributes of the span to be."""

    def _finish(self, failed: bool) -> None:
        """Add what is known only at the end of the stage."""

    def _outcome(self) -> str:
        return "failed" if self._failed else "seen"

    def _fail(self, text: str, error_type: str) -> None:
        self._failed = True
        self.span.set_attribute("error.type", error_type)
        self.span.set_status(Status(StatusCode.ERROR, text))


def _number_within(context: Context) -> tuple[MessageNumber | None, bool]:
    """Tell which message a stage without one of its own is about, and whether that counts: see RawContext."""
    raw = raw_context(context)
    if raw is not None:
        return raw.number, not raw.retained
    span = trace.get_current_span(context).get_span_context()
    if not span.is_valid:
        return None, True
    return message_number.of_trace_id(span.trace_id.to_bytes(16, "big")), True


def readable(text: str) -> str:
    """Return the text as UTF-8 can carry it (lone surrogates replaced), cut to 4096 characters."""
    return text[:TEXT_MAX].encode("utf-8", "replace").decode()


def named(what: str, value: object) -> str:
    """Return value when it is a str to be used as an attribute.

    Raises:
        TypeError: it is not a str.  ValueError: it is empty or longer than 4096 characters.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r} ({type(value).__name__}); it must be a str")
    if not 1 <= len(value) <= TEXT_MAX:
        raise ValueError(f"{what} has {len(value)} characters; it must have 1..{TEXT_MAX}")
    return readable(value)


def flag(what: str, value: object) -> bool:
    """Return value when it is a bool.

    Raises:
        TypeError: it is anything else, 0 and 1 included, because searching for `true` would miss them.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{what} is {value!r} ({type(value).__name__}); it must be True or False")
    return value


def count(what: str, value: object, highest: int = 2**63 - 1) -> int:
    """Return value when it is an int in 0..highest.

    Raises:
        TypeError: it is not an int (a bool is none).  ValueError: it is out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is {value!r} ({type(value).__name__}); it must be an int, 0..{highest}")
    if not 0 <= value <= highest:
        raise ValueError(f"{what} is {value}; it must be in 0..{highest}")
    return value


def one_of(what: str, value: SpanKind, allowed: Sequence[SpanKind]) -> SpanKind:
    """Return value when it is one of the span kinds that fit this stage.

    Raises:
        ValueError: it is another one.
    """
    if value not in allowed:
        raise ValueError(f"{what} is {value!r}; it must be one of {', '.join(str(kind) for kind in allowed)}")
    return value
