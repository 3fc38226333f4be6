"""umqtt.robust2's MQTTClient with the context in the payload.

Same constructor, methods and callbacks; new: `carrier=`, a Member or Trailer. The queue gets bytes of its own, so a
message keeps its seq through outage and retry. A packet that the socket takes only in part is written to its end.
"""

from umqtt.robust2 import MQTTClient as _Robust2

from motetrace.publish import send

_publish = _Robust2.publish


class MQTTClient(_Robust2):
    def __init__(self, *args, carrier=None, **kw):
        super().__init__(*args, **kw)
        self.carrier = carrier

    def _write(self, bytes_wr, length=-1):
        if length < 0:
            length = len(bytes_wr)
        self._sock_timeout(self.poller_w, self.socket_timeout)
        send(self, bytes_wr, 0, length)
        return length

    def publish(self, topic, msg, retain=False, qos=0):
        if isinstance(topic, str):
            topic = topic.encode()
        elif not isinstance(topic, bytes):
            topic = bytes(topic)
        if self.carrier:
            msg = self.carrier.copy(msg)
        return _publish(self, topic, msg, retain, qos)
