"""Context as the first member of a JSON object, for clients that must be handed the whole payload as one object."""

from struct import pack_into

from motetrace.binary import pack_text_into
from motetrace.carrier import Carrier


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
        i = 0
        n = len(msg) - 1
        while i < n and msg[i] in b" \t\r\n":
            i += 1
        while i < n and msg[n] in b" \t\r\n":
            n -= 1
        if i >= n or msg[i] != 123 or msg[n] != 125:
            return -1
        n = i = i + 1
        while msg[n] in b" \t\r\n":
            n += 1
        self._empty = msg[n] == 125
        return i

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
