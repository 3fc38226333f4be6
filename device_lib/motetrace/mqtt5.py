"""umqtt.simple2's MQTTClient speaking MQTT 5, with the context in a user property.

Same constructor, methods and callbacks. New: `tracer`, `expiry` (s), `session_expiry` (s), and, inside the message
callback, `user_properties` [(name, value), ...] and `traceparent` (bytes or None) of the message at hand.
Status callback: besides 0 timeout, 1 acked, 2 unknown, a value from 128 on is the broker's refusal (reason code).
"""

import select
import socket
from struct import pack_into
from time import ticks_add, ticks_diff, ticks_ms

from umqtt.simple2 import MQTTClient as _Simple2
from umqtt.simple2 import MQTTException

from motetrace.publish import Publish, send


class UserProperty(Publish):
    """Publishes through an MQTT 5 client; its `tracer` is a Tracer, an Incoming, or None for no context at all.

    MQTTClient has one of its own. A second one over the same client and an Incoming sends answers to commands.
    """

    def __init__(self, client, tracer, expiry=0):
        # Property length, message expiry, and a user property up to its value, whose length is written each time.
        lead = b"\x00\x02" + expiry.to_bytes(4, "big") if expiry else b"\x00"
        if tracer:
            lead += b"\x26\x00%s\x00\x00" % (b"\x0btraceparent" if tracer.mode[0] == "t" else b"\x06seqref")
        super().__init__(client, tracer, lead)

    def bare(self, b, at):
        b[at] = 0
        return at + 1

    def close(self, b, end):
        t = self.tracer
        if t:
            if t.tracestate:
                pack_into("15s12s", b, end, b"\x26\x00\x0atracestate\x00\x0c", t.tracestate)
                end += 27
            b[self._at + len(self.lead) - 1] = self.size
        b[self._at] = end - self._at - 1  # at most 5 + 71 + 27: one byte
        return end


# Width in bytes of each property's value, by identifier; 0: two length bytes come first.
_SIZES = b"\0\1\4\0\0\0\0\0\0\0\0\1\0\0\0\0\0\4\0\2\0\0\0\1\4\1\0\0\0\0\0\0\0\2\2\2\1\1\0\4\1\1\1"


class MQTTClient(_Simple2):
    def __init__(self, *args, tracer=None, expiry=0, session_expiry=0, **kw):
        super().__init__(*args, **kw)
        self.session_expiry = session_expiry
        self.user_properties = []
        self.traceparent = None
        self._publish = p = UserProperty(self, tracer, expiry)
        self.plain = p.plain

    def _write(self, b, length=-1):
        send(self, b, 0, len(b) if length < 0 else length)

    def _text(self, s):
        if isinstance(s, str):
            s = s.encode()
        return len(s).to_bytes(2, "big") + s

    def _packet(self, first, body):
        h = bytearray(5)
        h[0] = first
        self._write(bytes(h[: self._varlen_encode(len(body), h, 1)]) + body)

    def _recv_len(self, least=0):
        # simple2's goes on for as long as a broker sends continuation bits.
        n = i = 0
        while i < 28:
            b = self._read(1)[0]
            n |= (b & 127) << i
            i += 7
            if b < 128:
                i = 99
        if i < 99 or n < least:
            raise MQTTException(-1)
        return n

    def connect(self, clean_session=True):
        """Connect; return True when the broker kept the session. Raises MQTTException(20, reason code) if refused."""
        self.disconnect()
        a = socket.getaddrinfo(self.server, self.port)[0]
        s = self.sock_raw = socket.socket(a[0], a[1], a[2])
        s.setblocking(False)
        try:
            s.connect(a[-1])
        except OSError as e:
            if e.args[0] not in (115, 119):  # EINPROGRESS: 115, on esp32 119
                s.close()
                raise
        if self.ssl:
            import ssl

            s.setblocking(True)
            try:
                self.sock = ssl.wrap_socket(s, **self.ssl_params)
            except Exception:
                s.close()
                raise
            s.setblocking(False)
        else:
            self.sock = s
        self.poller_r = select.poll()
        self.poller_r.register(self.sock, select.POLLERR | select.POLLIN | select.POLLHUP)
        self.poller_w = select.poll()
        self.poller_w.register(self.sock, select.POLLOUT)
        self._sock_timeout(self.poller_w, self.socket_timeout)
        flags = 0
        if clean_session:
            flags = 2
            self.rcv_pids.clear()
        b = self._text(self.client_id)
        if self.lw_topic:
            flags |= 4 | self.lw_qos << 3 | self.lw_retain << 5
            b += b"\x00" + self._text(self.lw_topic) + self._text(self.lw_msg)
        if self.user is not None:
            flags |= 128
            b += self._text(self.user)
            if self.pswd is not None:
                flags |= 64
                b += self._text(self.pswd)
        h = bytes((flags, self.keepalive >> 8, self.keepalive & 255, 5, 0x11))
        self._packet(0x10, b"\x00\x04MQTT\x05" + h + self.session_expiry.to_bytes(4, "big") + b)
        if self._read(1) != b"\x20":
            raise MQTTException(29)
        b = self._read(self._recv_len(2))
        if b[1]:
            raise MQTTException(20, b[1])
        self._properties(b[3:] if b[2:3] < b"\x80" else b"")  # 128 bytes and more are passed over
        self.last_cpacket = ticks_ms()
        return b[0] & 1

    def publish(self, topic, msg, retain=False, qos=0, dup=False):
        p = self._publish
        p.flags = (56 if dup else 48) | qos << 1 | (1 if retain else 0)
        return p(topic, msg, 0)

    def subscribe(self, topic, qos=0):
        if qos & ~1:
            raise ValueError("qos: 0 or 1")
        pid = next(self.newpid)
        self.rcv_pids[pid] = ticks_add(ticks_ms(), self.message_timeout * 1000)
        self._packet(0x82, pid.to_bytes(2, "big") + b"\x00" + self._text(topic) + bytes((qos,)))
        return pid

    def _message_timeout(self):
        now = ticks_ms()
        for pid in list(self.rcv_pids):
            if ticks_diff(self.rcv_pids[pid], now) <= 0:
                self.rcv_pids.pop(pid)
                self.cbstat(pid, 0)

    def _properties(self, b):
        # Of a PUBLISH or a CONNACK; anything malformed ends the list.
        self.user_properties = p = []
        self.traceparent = None
        i = 0
        try:
            while i < len(b):
                k = b[i]
                i += 1
                n = _SIZES[k]
                if k == 0x13:  # Server Keep Alive: the broker's value counts
                    self.keepalive = b[i] << 8 | b[i + 1]
                elif k == 11:
                    while b[i] & 128:
                        i += 1
                elif not n:
                    n = 2 + (b[i] << 8 | b[i + 1])
                if k == 38:
                    name = b[i + 2 : i + n]
                    i += n
                    n = 2 + (b[i] << 8 | b[i + 1])
                    b[i + n - 1]  # IndexError if it is cut
                    value = b[i + 2 : i + n]
                    p.append((name, value))
                    if name == b"traceparent":
                        # Of two of them neither counts (W3C Trace Context 3.2.2).
                        self.traceparent = value if self.traceparent is None else b""
                i += n
        except IndexError:
            pass

    def _incoming(self, first, n):
        topic = self._read(int.from_bytes(self._read(2), "big"))
        n -= 3 + len(topic)
        pid = first & 6
        if pid:
            pid = self._read(2)
            n -= 2
        p = self._recv_len()
        n -= p + (p > 127) + (p > 16383)
        if n < 0:
            raise MQTTException(-1)
        self._properties(self._read(p))
        self.cb(topic, self._read(n), bool(first & 1), bool(first & 8))
        if pid:
            self._write(b"\x40\x02" + pid)

    def check_msg(self):
        if self.sock is None:
            raise MQTTException(28)
        try:
            b = self.sock.read(1)
            if b is None and self.poller_r.poll(-1 if self.socket_timeout is None else 1):
                b = self.sock.read(1)
        except OSError as e:
            if e.args[0] not in (11, 110):  # EAGAIN, ETIMEDOUT
                raise
            b = None
        self._message_timeout()
        if b is None:
            return None
        if b == b"":
            raise MQTTException(1)
        first = b[0]
        n = self._recv_len(2 if first < 0xD0 else 0)
        self.last_cpacket = ticks_ms()
        if first & 0xF0 == 0x30:
            self._incoming(first, n)
            return None
        b = self._read(n)
        if first == 0x40 or first == 0x90:  # the reason: last of a SUBACK, third of a PUBACK if it is there at all
            n = b[-1] if first == 0x90 else b[2] if n > 2 else 0
            pid = b[0] << 8 | b[1]
            self.cbstat(pid, 2 if self.rcv_pids.pop(pid, None) is None else n if n > 127 else 1)
        elif first == 0xE0:
            raise MQTTException(1, b[0] if n else 0)  # the broker's reason for closing
        return None if first == 0xD0 else first
