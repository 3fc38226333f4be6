"""Context behind a binary payload, for umqtt.simple2 as it is (MQTT 3.1.1); the payload is not copied."""

from time import ticks_add, ticks_ms

from motetrace.publish import Publish, send
from motetrace.trailer import Trailer


class BinaryTrailer(Publish):
    """The user's client with a publish() that adds the trailer; everything else is the client's own.

    An empty payload is sent as it is and counted in `left_alone`.
    """

    def __init__(self, client, tracer):
        super().__init__(client, tracer, b"")
        self.trailer = Trailer(tracer)

    def __getattr__(self, name):
        return getattr(self.client, name)

    @property
    def left_alone(self):
        return self.trailer.left_alone

    def bare(self, b, at):
        return at

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        if isinstance(topic, str):
            topic = topic.encode()
        if isinstance(msg, str):
            msg = msg.encode()
        self.flags = (56 if dup else 48) | qos << 1 | (1 if retain else 0)
        self.trailer.again = dup
        dup = self.trailer
        dup.insert(msg)
        if topic != self._topic or self.flags & 2 != self._qos:
            self._head(topic)
        # Names used twice from here on: a frame of more than 11 words would stand on the heap.
        retain = self._start(self._at - 5 + len(msg) + dup.size)
        topic = self._at - retain
        send(self.client, self._buf, retain, topic)
        topic = len(msg)
        send(self.client, msg, 0, topic)
        send(self.client, dup.buf, 0, dup.size)
        if qos:
            topic = self._pid
            self.client.rcv_pids[topic] = ticks_add(ticks_ms(), self.client.message_timeout * 1000)
            return topic
