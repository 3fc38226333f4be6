"""adafruit_minimqtt's MQTT with the context in the payload, for CircuitPython.

Same constructor, methods and callbacks; new: `carrier=`, a Member or Trailer. Topic and payload may be any bytes-like
object too, which the client itself refuses.
"""

from adafruit_minimqtt.adafruit_minimqtt import MQTT as _MQTT


class MQTT(_MQTT):
    def __init__(self, *, carrier=None, **kw):
        super().__init__(**kw)
        self.carrier = carrier

    def publish(self, topic, msg, retain=False, qos=0):
        if isinstance(topic, (bytes, bytearray, memoryview)):
            topic = str(topic, "utf-8")
        if isinstance(msg, (int, float)):
            msg = str(msg)
        if self.carrier:
            msg = self.carrier.copy(msg)
        return super().publish(topic, msg, retain, qos)
