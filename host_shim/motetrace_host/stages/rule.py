"""The rule engine's stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind, Tracer

from motetrace_host.stages.incoming import Incoming, Message
from motetrace_host.stages.outgoing import inject, inject_json
from motetrace_host.stages.stage import Stage, flag, named

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

_MQTT_5: Final = 5  # paho's `protocol`
_SUCCESS: Final = 0  # paho's MQTT_ERR_SUCCESS and MQTT_ERR_NO_CONN, the same in all its versions
_NO_CONNECTION: Final = 4


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

        Unset at the end it is not known, or True when something was published by `publish`: acting on a message is a
        match. Only False says that the rule filtered the message.
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
        if _protocol(client) == _MQTT_5:
            info = client.publish(topic, body, qos, retain, inject(properties, self.context))
        else:
            try:
                body = inject_json(body, self.context)
            except ValueError:
                self.span.set_attribute("trace.inject", "none:payload_not_json_object")
            info = client.publish(topic, body, qos, retain)
        self._published = True
        self.span.set_attribute("rule.destination", topic)
        if info.rc != _SUCCESS and not (qos and info.rc == _NO_CONNECTION):  # that one is queued and sent later
            words, name = _refusal(info.rc)
            self._fail(f"publish to {topic} was refused by the MQTT client: {words}", name)
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
        matched = True if self._matched is None and self._published else self._matched
        if matched is not None:
            self.span.set_attribute("rule.matched", matched)

    def _outcome(self) -> str:
        return "filtered" if self._matched is False and not self._failed else super()._outcome()


def _protocol(client: Any) -> int:
    """Which MQTT a client speaks, as paho's `protocol`; paho 1.6 keeps it to itself, and what says nothing speaks 5."""
    return int(getattr(client, "protocol", 0) or getattr(client, "_protocol", _MQTT_5))


def _refusal(code: int) -> tuple[str, str]:
    """What paho's return code of a publish means, in words and as a name; paho 1.6 has numbers without names."""
    from paho.mqtt import client

    names = {value: name for name, value in vars(client).items() if name.startswith("MQTT_ERR_")}
    return client.error_string(code), names.get(code, f"MQTT_ERR_{code}")


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
