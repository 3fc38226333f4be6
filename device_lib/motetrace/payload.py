"""Context in a payload, or in your own buffer: as text, as bytes, as a JSON member, as a trailer."""

import io
from struct import pack_into
from sys import implementation

from motetrace._json import behind_brace

_C = implementation.name == "cpython"  # whose struct takes no memoryview


def unhex(dst, at, src, i, n):
    """Write n bytes into dst from `at`, read from 2n lower-case digits of src from i."""
    while n:
        b = src[i]
        i += 1
        dst[at] = ((b & 15) + 9 * (b >> 6)) << 4 | (src[i] & 15) + 9 * (src[i] >> 6)
        at += 1
        i += 1
        n -= 1


def pack_text_into(buf, at, context):
    """Write what Tracer.next() or Incoming.next() returned into buf (a bytearray) from `at`.

    Returns:
        The offset behind it: 55 bytes on, in mode "seqref" 22, with an age 30. `at` when buf ends before.
    """
    n = len(context)
    if at + n > len(buf):
        return at
    if _C:
        buf[at : at + n] = context
    else:
        pack_into("55s" if n > 30 else "30s" if n > 22 else "22s", buf, at, context)
    return at + n


def pack_binary_into(buf, at, context):
    """Write it as bytes: a traceparent in W3C's binary form (29), a seqref as nonce, seq and flags (10, without age).

    Returns:
        The offset behind it. `at` when buf ends before.
    Source: docs/wire-format.md, "binary trailer"; tests/vectors/trailer.json.
    """
    n = 29 if len(context) > 30 else 10
    if at + n > len(buf):
        return at
    if n < 29:
        unhex(buf, at, context, 0, 5)
        unhex(buf, at + 5, context, 11, 4)
        n = context[21]
    else:
        buf[at] = buf[at + 1] = 0
        unhex(buf, at + 2, context, 3, 16)
        buf[at + 18] = 1
        unhex(buf, at + 19, context, 36, 8)
        buf[at + 27] = 2
        at += 19
        n = context[54]
    buf[at + 9] = n - 48
    return at + 10


class Carrier:
    """Puts the context of one message into its payload.

    A subclass gives `place(msg)`, the offset or -1, `fill(context)`, which writes into buf and returns the end, and
    `close(end)`, which writes what depends on the payload.
    `left_alone` counts payloads that went without. Set `again` before a message that is published a second time after
    an error: it carries the last context once more, and so keeps its seq.
    """

    def __init__(self, tracer, size):
        self.tracer = tracer
        self.buf = bytearray(size)
        self.size = self._end = 0
        self.left_alone = 0
        self.again = False
        try:
            self._io = io.BytesIO()
            self._io.write(b"", 0, 0)
        except (AttributeError, TypeError):  # no BytesIO, or one that cannot write a part
            self._io = None

    def insert(self, msg):
        """Make buf[:size] what is to be put into msg (bytes-like) at offset `at`; size is 0 if msg is left alone."""
        self.size = 0
        again = self.again
        self.again = False
        self.at = at = self.place(msg)
        if at < 0:
            self.left_alone += 1
            self.at = 0
            return
        if not again or not self._end:
            self._end = self.fill(self.tracer.next())
        self.size = self.close(self._end)

    def copy(self, msg):
        """Return msg with the context in it as fresh bytes, which a client may keep; never raises.

        A payload that is no payload, or that memory does not suffice for, is returned as it is and counted.
        """
        self.size = 0
        try:
            if isinstance(msg, str):
                msg = msg.encode()
            self.insert(msg)
            return self._joined(msg, self.at)
        except Exception:
            self.left_alone += 1
            self.again = self.size > 0  # made and not sent: the next message's
            return msg

    def _joined(self, msg, at):
        f = self._io
        if not self.size:
            return msg if isinstance(msg, bytes) else bytes(msg)
        if f is None:
            return bytes(msg[:at]) + bytes(self.buf[: self.size]) + bytes(msg[at:])
        f.seek(0)
        f.write(msg, 0, at)
        f.write(self.buf, 0, self.size)
        f.write(msg, at, len(msg) - at)
        f.seek(0)
        at = len(msg) + self.size
        return f.read(at)


class Member(Carrier):
    """Puts `"traceparent":"...",` or `"seqref":"...",` behind the brace; all else stays as it is.

    A payload that is not a JSON object is left alone.
    """

    def __init__(self, tracer):
        super().__init__(tracer, 102)
        lead = b'"%s":"' % tracer.mode.encode()
        self._at = len(lead)
        self.buf[: self._at] = lead

    def place(self, msg):
        i = behind_brace(msg)
        self._empty = i < 0
        return -i if i < 0 else i or -1

    def fill(self, context):
        at = pack_text_into(self.buf, self._at, context)
        if self.tracer.tracestate:
            pack_into("16s12s", self.buf, at, b'","tracestate":"', self.tracer.tracestate)
            at += 28
        return at

    def close(self, end):
        self.buf[end] = 34
        if self._empty:
            return end + 1
        self.buf[end + 1] = 44
        return end + 2


class Trailer(Carrier):
    """Puts 33 bytes behind the payload, in mode "seqref" 14; the topic must be one on which the host looks for them.

    An empty payload is left alone: retained, it deletes what the broker keeps, and must stay empty.
    Source: docs/wire-format.md, "binary trailer"; tests/vectors/trailer.json.
    """

    def __init__(self, tracer):
        super().__init__(tracer, 33)
        self._table = t = bytearray(256)  # CRC-8, polynomial 07
        i = 1
        while i < 256:
            t[i] = t[i >> 1] << 1 & 255 ^ (7 if t[i >> 1] & 128 else 0) ^ (7 if i & 1 else 0)
            i += 1

    def place(self, msg):
        return len(msg) or -1

    def fill(self, context):
        b = self.buf
        end = pack_binary_into(b, 0, context)
        c = i = 0
        while i < end:
            c = self._table[c ^ b[i]]
            i += 1
        b[end] = c
        b[end + 1] = end
        b[end + 2] = 0xF5
        b[end + 3] = 0x4D
        return end + 4

    def close(self, end):
        return end
