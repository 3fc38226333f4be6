"""mqtt_as's MQTTClient with the context in a user property (MQTT 5) or in the payload (3.1.1).

Same config, methods and callbacks; new: `tracer`, for MQTT 5, and `carrier`, a Member or Trailer, for 3.1.1 and for
messages that have a user property of their own, beside which mqtt_as sends no second. A message gets its context
when publish() is called, in memory of its own, and keeps it however often and late it is sent.
"""

from mqtt_as import MQTTClient as _MqttAs

_publish = _MqttAs.publish


class MQTTClient(_MqttAs):
    def __init__(self, config, tracer=None, carrier=None):
        super().__init__(config)
        self.tracer = tracer
        self.carrier = carrier
        self.left_alone = 0  # carrier.left_alone counts the others

    def _with_context(self, properties):
        try:
            pair = {self.tracer.mode: str(self.tracer.next(), "utf8")}
            properties = properties.copy() if properties else {0x26: pair}
            properties[0x26] = pair
        except MemoryError:
            self.left_alone += 1
        return properties

    def publish(self, topic, msg, retain=False, qos=0, properties=None):
        if isinstance(topic, str):
            topic = topic.encode()
        if isinstance(msg, str):
            msg = msg.encode()
        if self.mqttv5 and self.tracer and not (properties and 0x26 in properties):
            properties = self._with_context(properties)
        elif self.carrier:
            msg = self.carrier.copy(msg)
        else:
            self.left_alone += 1
        return _publish(self, topic, msg, retain, qos, properties)
