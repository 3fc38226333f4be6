"""umqtt.simple's MQTTClient with the context in the payload; nothing is copied.

Same constructor, methods and callbacks; new: `carrier=`, a Member or Trailer. Text may be non-ASCII, and the packet id
returns to 1 after 65535, where the client's own would wait for ever.
"""

from umqtt.simple import MQTTClient as _Simple

_publish = _Simple.publish


class MQTTClient(_Simple):
    def __init__(self, *args, carrier=None, **kw):
        super().__init__(*args, **kw)
        self.carrier = carrier
        self._head = bytearray(7)

    def _send(self, buf, at, n):
        while n:
            w = self.sock.write(buf, at, n)
            if not w:
                raise OSError(11)
            at += w
            n -= w

    # Names are used twice below: a frame of more than 11 words would stand on the heap.

    def _start(self, first, topic, n):
        # First byte, remaining length, and from offset 5 the topic's length; n: the payload.
        h = self._head
        topic = len(topic)
        h[5] = topic >> 8
        h[6] = topic & 255
        n = len(n) + self.carrier.size + 2 + topic + (first & 2)
        topic = i = 3 - (n > 127) - (n > 16383) - (n > 2097151)
        h[i] = first
        while n > 127:
            i += 1
            h[i] = n & 127 | 128
            n >>= 7
        h[i + 1] = n
        n = 7 - topic
        self._send(h, topic, n)

    def publish(self, topic, msg, retain=False, qos=0):
        if isinstance(topic, str):
            topic = topic.encode()
        if isinstance(msg, str):
            msg = msg.encode()
        if self.carrier is None or qos > 1:
            return _publish(self, topic, msg, retain, qos)
        self.carrier.insert(msg)
        self._start(48 | qos << 1 | (1 if retain else 0), topic, msg)
        retain = len(topic)
        self._send(topic, 0, retain)
        retain = 0
        if qos:
            topic = self._head
            self.pid = retain = self.pid % 65535 + 1
            topic[0] = retain >> 8
            topic[1] = retain & 255
            self._send(topic, 0, 2)
        topic = self.carrier
        self._send(msg, 0, topic.at)
        self._send(topic.buf, 0, topic.size)
        topic = topic.at
        qos = len(msg) - topic
        self._send(msg, topic, qos)
        while retain:
            if self.wait_msg() == 0x40:
                msg = self.sock.read(3)
                if msg[1] << 8 | msg[2] == retain:
                    return
