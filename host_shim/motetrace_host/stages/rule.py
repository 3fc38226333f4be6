"""The rule engine's stage."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import SpanKind, Tracer
from paho.mqtt.client import MQTTv5, error_string
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties

from motetrace_host.stages.incoming import Incoming, Message
from motetrace_host.stages.outgoing import inject, inject_json
from motetrace_host.stages.stage import Stage, flag, named


class RuleEvaluate(Stage):
    """A running `rule_evaluate` span."""

    _hop = "rule"
    _matched: bool | None = None
    _published = False

    def __init__(self, message: Message, name: str, action: str, link_only: bool, tracer: Tracer | None) -> None:
        attributes = {
            "rule.name": named("rule name", name),
            "rule.action": named("rule action", action),
            "messaging.system": "mqtt",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
        }
        super().__init__("rule_evaluate", SpanKind.CONSUMER, attributes, message, link_only, tracer)

    @property
    def matched(self) -> bool | None:
        """Whether the rule matched: the attribute rule.matched.

        Unset at the end means False, or True when something was published: acting on a message is a match.
        A stage that ends by an exception before it is set has no rule.matched at all.
        """
        return self._matched

    @matched.setter
    def matched(self, value: bool) -> None:
        self._matched = flag("rule.matched", value)

    def publish(
        self,
        client: Any,
        topic: str,
        payload: bytes | bytearray | str | None = None,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> Any:
        """Publish by a paho client with this span's context injected, and return paho's MQTTMessageInfo.

        An MQTT 5 client carries the context in user properties; a 3.1.1 client in the first members of a JSON-object
        payload. Where neither is possible the message goes out as it is and the span says so in `trace.inject`.
        A message that the client refuses (its queue is full, or QoS 0 without a connection) fails the span.

        Args:
            payload: default the evaluated message's, without the tracing members that came in it.
            properties: further MQTT 5 properties; changed in place.
        """
        if payload is None:
            payload = self.payload
        body = payload.encode() if isinstance(payload, str) else bytes(payload)
        if getattr(client, "protocol", MQTTv5) == MQTTv5:
            info = client.publish(topic, body, qos, retain, inject(properties, self.context))
        else:
            try:
                body = inject_json(body, self.context)
            except ValueError:
                self.span.set_attribute("trace.inject", "none:payload_not_json_object")
            info = client.publish(topic, body, qos, retain)
        self._published = True
        self.span.set_attribute("rule.destination", topic)
        refused = info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS
        if refused and not (qos and info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN):  # that one is queued and sent later
            self._fail(f"publish to {topic} was refused by the MQTT client: {error_string(info.rc)}", info.rc.name)
        return info

    def _describe(self, incoming: Incoming) -> None:
        self._attributes["trace.origin"] = incoming.origin
        self._attributes["messaging.destination.name"] = incoming.topic
        if incoming.template is not None and incoming.device_id is not None:
            self._attributes["messaging.destination.template"] = incoming.template
            self._attributes["device.id"] = incoming.device_id
        if incoming.retained:
            self._attributes["mqtt.retained"] = True

    def _finish(self, failed: bool) -> None:
        if self._matched is None and failed and not self._published:
            return
        self.span.set_attribute("rule.matched", self._has_matched())

    def _has_matched(self) -> bool:
        return self._published if self._matched is None else self._matched

    def _outcome(self) -> str:
        return "filtered" if not self._failed and not self._has_matched() else super()._outcome()


def rule_evaluate(
    message: Message, *, name: str, action: str, link_only: bool = False, tracer: Tracer | None = None
) -> RuleEvaluate:
    """Make a `rule_evaluate` span (CONSUMER) around the evaluation of one rule on one message, for use in a `with`.

    It is a child of the span that the message carries and links to it; without one it is a root. A retained message
    is only linked to. The attribute trace.origin says which.

    Args:
        message: paho's MQTTMessage, or anything with topic, payload and properties.
        name: rule.name.  action: rule.action, what the rule does on a match, such as `republish`. 1..4096 characters.
        link_only: begin a new trace that links to the message's, for rules that look at many messages.
        tracer: default `opentelemetry.trace.get_tracer("motetrace")`.
    Raises:
        TypeError, ValueError: name or action is not a str of that length.
    Source: docs/spans.md.
    """
    return RuleEvaluate(message, name, action, link_only, tracer)
