"""A PUBLISH packet for umqtt.simple2 with a context inside: assembled once per topic, renewed in place, not copied."""

from struct import pack_into
from time import ticks_add, ticks_ms

from umqtt.simple2 import MQTTException


def send(client, buf, at, n):
    """Write n bytes of buf from `at`, in as many partial writes as the socket takes.

    Raises:
        MQTTException: 28 not connected, 30 nothing could be written for client.socket_timeout seconds (the connection
            is then closed: connect anew).
        OSError: from the socket.
    """
    while n:
        if client.sock is None:
            raise MQTTException(28)
        w = client.sock.write(buf, at, n)
        if w:
            at += w
            n -= w
        else:
            _wait(client)


def _wait(client):
    try:
        client._sock_timeout(client.poller_w, client.socket_timeout)
    except Exception:
        # A part of the packet is out, and the broker would take whatever came next for the rest of it.
        client.sock.close()
        client.sock = None
        raise


class Publish:
    """One packet buffer: fixed header, topic, packet id, then the part that a subclass puts before the payload.

    A subclass gives `lead` (bytes before the context), `close(buf, end)`, which finishes that part and returns its
    end, and `bare(buf, at)`, which writes that part for a message without a context.
    """

    def __init__(self, client, tracer, lead):
        self.client = client
        self.tracer = tracer
        self.lead = lead
        self._topic = None

    def _head(self, topic):
        n = len(topic)
        self._topic = bytes(topic)
        self._qos = self.flags & 2  # the flag bit, and the size of a packet id
        self._at = n + self._qos + 7
        self._end = 0  # nothing yet that a retry could send again
        self._buf = b = bytearray(self._at + len(self.lead) + 90)
        b[5] = n >> 8
        b[6] = n & 255
        b[7 : 7 + n] = topic
        b[self._at : self._at + len(self.lead)] = self.lead

    def _fill(self):
        # Put the context in; return the end. A retry finds it there, whatever the tracer was used for meanwhile.
        if not self.flags & 8 or not self._end:
            n = self._at + len(self.lead)
            if self.tracer:
                c = self.tracer.next()
                self.size = len(c)
                pack_into("55s" if self.tracer.mode[0] == "t" else "30s", self._buf, n, c)
                n += self.size
            self._end = self.close(self._buf, n)
        return self._end

    def _start(self, n):
        # First byte and remaining length, right-aligned before the topic's length at 5; return where they begin.
        b = self._buf
        i = start = 3 - (n > 127) - (n > 16383) - (n > 2097151)
        b[i] = self.flags
        while n > 127:
            i += 1
            b[i] = n & 127 | 128
            n >>= 7
        b[i + 1] = n
        if self._qos:
            self._pid = n = next(self.client.newpid)
            b[self._at - 2] = n >> 8
            b[self._at - 1] = n & 255
        return start

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        self.flags = (56 if dup else 48) | qos << 1 | (1 if retain else 0)
        return self(topic, msg, 0)

    def plain(self, topic, msg, retain=False, qos=0):
        """Publish without a context: for birth, stats and the like, which are no readings and take no seq."""
        self.flags = 48 | qos << 1 | (1 if retain else 0)
        return self(topic, msg, -1)

    def __call__(self, topic, msg, skip):
        """Publish with the first byte `self.flags`; return the packet id at QoS 1.

        Args:
            topic, msg: bytes or str, or any buffer. msg is sent from `skip` on; -1: whole, and without a context.
        Raises:
            ValueError: qos is not 0 or 1.  MQTTException, OSError: see send.
        """
        if self.flags & 4:
            raise ValueError("qos: 0 or 1")
        if isinstance(topic, str):
            topic = topic.encode()
        if isinstance(msg, str):
            msg = msg.encode()
        if topic != self._topic or self.flags & 2 != self._qos:
            self._head(topic)
        if skip < 0:
            skip = 0
            topic = self.bare(self._buf, self._at)
            self._end = 0  # what a retry could send again is overwritten
        else:
            topic = self._fill()
        n = self._start(topic - 5 + len(msg) - skip)
        send(self.client, self._buf, n, topic - n)
        send(self.client, msg, skip, len(msg) - skip)
        if self._qos:
            n = self._pid
            self.client.rcv_pids[n] = ticks_add(ticks_ms(), self.client.message_timeout * 1000)
            return n
