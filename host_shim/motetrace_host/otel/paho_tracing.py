"""The spans of a paho client: what is sent, what is processed, and the will that is left behind.

Recording never raises into the program: what goes wrong here is logged, and the call goes on without a span.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Token
from typing import Any

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from paho.mqtt.client import MQTTv5, error_string
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from motetrace_host.otel.paho_attributes import body_size, describe, function_name
from motetrace_host.otel.paho_carriage import Carriage, will_context
from motetrace_host.otel.paho_dispatch import Callback, TracedDispatch
from motetrace_host.otel.paho_options import PahoOptions
from motetrace_host.stages.stage import readable

_log = logging.getLogger("motetrace")


class Tracing:
    """What is called in place of paho's methods; each gets paho's own as its first argument."""

    def __init__(self, tracer: Tracer, options: PahoOptions, carriage: Carriage) -> None:
        self._tracer = tracer
        self._options = options
        self._carriage = carriage

    def publish(
        self,
        original: Callable[..., Any],
        client: Any,
        topic: Any,
        payload: Any = None,
        qos: Any = 0,
        retain: Any = False,
        properties: Any = None,
    ) -> Any:
        """A PRODUCER span around `Client.publish`, and its context in the message."""
        span: Span | None = None
        sent = payload, properties
        try:
            if is_instrumentation_enabled():
                span, context = self._sending("publish", client, topic, payload, qos, retain, properties)
                sent = self._carrying(span, client, payload, properties, context, PacketTypes.PUBLISH)
        except Exception:  # noqa: BLE001 (whatever is wrong here, the message is sent)
            _log.exception("motetrace: a message is sent without its context")
        try:
            info = original(client, topic, sent[0], qos, retain, sent[1])
        except BaseException as error:
            _failed(span, error)
            raise
        if span is not None:
            _refused(span, info, qos)
            _ended(span)
        return info

    def will_set(
        self,
        original: Callable[..., Any],
        client: Any,
        topic: Any,
        payload: Any = None,
        qos: Any = 0,
        retain: Any = False,
        properties: Any = None,
    ) -> Any:
        """A PRODUCER span, `create`, around `Client.will_set`; the will carries it with the mark of a will."""
        span: Span | None = None
        sent = payload, properties
        try:
            if is_instrumentation_enabled():
                span, context = self._sending("create", client, topic, payload, qos, retain, properties)
                context = will_context(span, context)
                sent = self._carrying(span, client, payload, properties, context, PacketTypes.WILLMESSAGE)
        except Exception:  # noqa: BLE001 (as above)
            _log.exception("motetrace: a will is set without its context")
        try:
            result = original(client, topic, sent[0], qos, retain, sent[1])
        except BaseException as error:
            _failed(span, error)
            raise
        if span is not None:
            _ended(span)
        return result

    def handle_on_message(self, original: Callable[..., Any], client: Any, message: Any) -> Any:
        """Paho's own dispatch, with each callback in a span."""
        return original(TracedDispatch(client, self.process), message)

    def process(self, callback: Callback, client: Any, userdata: Any, message: Any) -> object:
        """A CONSUMER span around one callback, current while it runs."""
        span: Span | None = None
        token: Token[Context] | None = None
        try:
            if is_instrumentation_enabled():
                span, context = self._processing(callback, client, message)
                token = attach(context)
        except Exception:  # noqa: BLE001 (whatever is wrong here, the message is processed)
            _log.exception("motetrace: a callback runs without its span")
        try:
            result = callback(client, userdata, message)
        except BaseException as error:
            if token is not None:
                detach(token)
            _failed(span, error)
            raise
        if token is not None:
            detach(token)
        if span is not None:
            _ended(span)
        return result

    def _sending(
        self, operation: str, client: Any, topic: Any, payload: Any, qos: Any, retain: Any, properties: Any
    ) -> tuple[Span, Context]:
        name, attributes = describe(operation, client, topic, self._options.topics)
        if isinstance(qos, int):
            attributes["mqtt.qos"] = int(qos)
        if retain:
            attributes["mqtt.retained"] = True
        size = body_size(payload)
        if size is not None:
            attributes["messaging.message.body.size"] = size
        parent = self._carriage.parent_of(topic if isinstance(topic, str) else "", payload, properties, get_current())
        span = self._tracer.start_span(name, parent, SpanKind.PRODUCER, attributes)
        return span, set_span_in_context(span, parent)

    def _carrying(
        self, span: Span, client: Any, payload: Any, properties: Any, context: Context, packet: int
    ) -> tuple[Any, Any]:
        if client.protocol == MQTTv5:
            return payload, self._carriage.properties(properties, context, packet)
        payload, reason = self._carriage.payload(payload, context)
        if reason is not None:
            span.set_attribute("trace.inject", reason)
        return payload, properties

    def _processing(self, callback: Callback, client: Any, message: Any) -> tuple[Span, Context]:
        incoming = self._carriage.read(message, get_current())
        name, attributes = describe("process", client, incoming.topic, self._options.topics)
        attributes["trace.origin"] = incoming.origin
        attributes["mqtt.qos"] = message.qos
        attributes["messaging.message.body.size"] = len(message.payload)
        if incoming.retained:
            attributes["mqtt.retained"] = True
        code = function_name(callback)
        if code is not None:
            attributes["code.function.name"] = code
        context = incoming.context
        if self._options.link_only or self._options.link_only_topics.match(incoming.topic) is not None:
            context = set_span_in_context(INVALID_SPAN, context)
        links = [] if incoming.remote is None else [Link(incoming.remote)]
        span = self._tracer.start_span(name, context, SpanKind.CONSUMER, attributes, links)
        return span, set_span_in_context(span, context)


def _refused(span: Span, info: Any, qos: Any) -> None:
    """Mark a message that paho did not take; one of QoS 1 or 2 that finds no connection is kept and sent later."""
    try:
        refused = info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS
        if refused and not (qos and info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN):
            span.set_attribute("error.type", MQTTErrorCode(info.rc).name)
            span.set_status(Status(StatusCode.ERROR, error_string(info.rc)))
    except Exception:  # noqa: BLE001 (a subclass may return anything)
        _log.exception("motetrace: cannot tell whether a message was taken")


def _failed(span: Span | None, error: BaseException) -> None:
    if span is None:
        return
    try:
        span.record_exception(error)
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(Status(StatusCode.ERROR, readable(str(error)) or type(error).__name__))
    except Exception:  # noqa: BLE001 (the program's own exception goes on, not ours)
        _log.exception("motetrace: an exception was not recorded")
    _ended(span)


def _ended(span: Span) -> None:
    try:
        span.end()
    except Exception:  # noqa: BLE001 (a span processor is the operator's; the message is not to suffer)
        _log.exception("motetrace: a span was not ended")
