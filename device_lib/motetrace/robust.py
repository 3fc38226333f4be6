"""umqtt.robust's MQTTClient with the context in the payload; what it sends again after an error keeps its seq.

Same constructor, methods and callbacks; new: `carrier=`, a Member or Trailer. A message whose acknowledgement was lost
with the connection is sent again, where the client's own would wait for that acknowledgement for ever.
"""

from umqtt.robust import MQTTClient as _Robust
from umqtt.simple import MQTTClient as _Simple

from motetrace.simple import MQTTClient as _Traced

_publish = _Traced.publish
_wait = _Robust.wait_msg
_wait_once = _Simple.wait_msg


class _Attempt:
    """One attempt to publish: an OSError ends it, is logged, and goes no further.

    A context manager, because `except OSError as e` takes a frame on the heap for each message.
    """

    def __init__(self, client):
        self.client = client

    def __enter__(self):
        self.failed = False
        self.client._sending = True

    def __exit__(self, kind, error, trace):
        self.client._sending = False
        self.failed = isinstance(error, OSError)
        if self.failed:
            self.client.log(False, error)
        return self.failed


class MQTTClient(_Robust):
    _send = _Traced._send
    _start = _Traced._start

    def __init__(self, *args, carrier=None, **kw):
        super().__init__(*args, **kw)
        self.carrier = carrier
        self._head = bytearray(7)
        self._sending = False
        self._attempt = _Attempt(self)

    def wait_msg(self):
        return _wait_once(self) if self._sending else _wait(self)  # while publishing an error is publish's to mend

    # The arguments wait in attributes: with them and a `with` a frame would stand on the heap.

    def _once(self):
        _publish(self, self._topic, self._msg, self._retain, self._qos)

    def _failed(self):
        with self._attempt:
            self._once()
        return self._attempt.failed

    def publish(self, topic, msg, retain=False, qos=0):
        self._topic = topic
        self._msg = msg
        self._retain = retain
        self._qos = qos
        while self._failed():
            topic = self.carrier
            if topic:
                if topic.size:
                    topic.again = True
                else:
                    topic.left_alone -= 1  # counted once more by the next attempt
            self.reconnect()
        self._topic = self._msg = None
