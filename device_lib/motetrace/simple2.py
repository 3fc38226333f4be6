"""For umqtt.simple2 as it is (MQTT 3.1.1): a JSON member or a binary trailer; the payload is not copied."""

from struct import pack_into
from time import ticks_add, ticks_ms

from motetrace._json import behind_brace
from motetrace.publish import Publish, send


class JsonMember(Publish):
    """The user's client with a publish() that adds the context; everything else is the client's own.

    A payload that is not a JSON object is sent as it is and counted in `left_alone`. White space before the brace that
    opens an object is not sent.
    """

    def __init__(self, client, tracer):
        super().__init__(client, tracer, b'{"%s":"' % tracer.mode.encode())
        self.left_alone = 0
        self._empty = False

    def __getattr__(self, name):
        return getattr(self.client, name)

    def bare(self, b, at):
        return at

    def close(self, b, end):
        if self.tracer.tracestate:
            pack_into("16s12s", b, end, b'","tracestate":"', self.tracer.tracestate)
            end += 28
        b[end] = 34
        b[end + 1] = 44
        return end + (1 if self._empty else 2)

    def _skip(self, msg):
        # The offset after the brace that opens the object, or -1.
        i = behind_brace(msg)
        if not i:
            self.left_alone += 1
            return -1
        if self._empty != (i < 0):
            self._empty = not self._empty
            self._end = 0  # the comma is part of what a retry would send again
        return -i if i < 0 else i

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        if isinstance(msg, str):
            msg = msg.encode()
        self.flags = (56 if dup else 48) | qos << 1 | (1 if retain else 0)
        qos = self._skip(msg)
        return self(topic, msg, qos)


class BinaryTrailer(Publish):
    """The user's client with a publish() that adds the trailer; everything else is the client's own.

    An empty payload is sent as it is and counted in `left_alone`.
    """

    def __init__(self, client, tracer):
        from motetrace.payload import Trailer  # here: who sends JSON does not load it

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
