"""Context as the first member of a JSON payload, for umqtt.simple2 as it is (MQTT 3.1.1); the payload is not copied."""

from struct import pack_into

from motetrace.publish import Publish


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
        i = 0
        n = len(msg) - 1
        while i < n and msg[i] in b" \t\r\n":
            i += 1
        while i < n and msg[n] in b" \t\r\n":
            n -= 1
        if i >= n or msg[i] != 123 or msg[n] != 125:
            self.left_alone += 1
            return -1
        n = i + 1
        while msg[n] in b" \t\r\n":
            n += 1
        if self._empty != (msg[n] == 125):
            self._empty = not self._empty
            self._end = 0  # the comma is part of what a retry would send again
        return i + 1

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        if isinstance(msg, str):
            msg = msg.encode()
        self.flags = (56 if dup else 48) | qos << 1 | (1 if retain else 0)
        qos = self._skip(msg)
        return self(topic, msg, qos)
