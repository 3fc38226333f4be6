"""A traceparent from elsewhere, read in place, and the context of an answer that continues its trace."""

from motetrace.tracer import put_hex


class Incoming:
    """One command's context at a time; after construction nothing here allocates.

    `fault` says what was wrong with the last one read, or None: traceparent_length, traceparent_format,
    traceparent_version, traceparent_zero_trace_id, traceparent_zero_parent_id.
    Source: W3C Trace Context Level 2, 3.2; tests/vectors/traceparent.json.
    """

    # What a carrier asks of a tracer: JsonMember(client, incoming) and UserProperty(client, incoming) send answers.
    mode = "traceparent"
    tracestate = None

    def __init__(self, tracer):
        self.tracer = tracer
        self.fault = "traceparent_length"
        self._buf = bytearray(b"00-%32s-%16s-00" % (b"", b""))

    def read(self, src, at=0, end=-1):
        """Read a traceparent from src (any buffer; None: there is none) from `at` to `end` (-1: its end).

        Returns:
            True if it is one; then next() continues its trace, until the next read(). Optional white space around it is
            passed over.
        """
        src = src or b""
        if end < 0 or end > len(src):
            end = len(src)
        while at < end and (src[at] == 32 or src[at] == 9):
            at += 1
        while end > at and (src[end - 1] == 32 or src[end - 1] == 9):
            end -= 1
        self.fault = f = self._check(src, at, end - at)
        if f:
            return False
        end = 3
        while end < 35:
            self._buf[end] = src[at + end]
            end += 1
        end = src[at + 54]  # of the flags only sampled and random have a meaning; both stand in the last digit
        self._buf[54] = 48 | (end if end < 58 else end + 9) & 3
        return True

    def _check(self, src, at, n):
        if n < 55 or (n > 55 and (src[at] == 48 and src[at + 1] == 48 or src[at + 55] != 45)):
            return "traceparent_length"
        n = 0
        while n < 55:
            if n == 2 or n == 35 or n == 52:
                if src[at + n] != 45:
                    return "traceparent_format"
            elif not (48 <= src[at + n] <= 57 or 97 <= src[at + n] <= 102):
                return "traceparent_format"
            n += 1
        if src[at] == 102 and src[at + 1] == 102:
            return "traceparent_version"
        n = 3
        while src[at + n] == 48:
            n += 1
        if n == 35:
            return "traceparent_zero_trace_id"
        n = 36
        while src[at + n] == 48:
            n += 1
        return "traceparent_zero_parent_id" if n == 52 else None

    def next(self):
        """Return 55 bytes for the answer: the command's trace-id and flags, and a parent-id of this device's own.

        The answer takes a seq as every message does. Its parent-id is the last 4 bytes of the boot nonce and seq, so
        that the host can count it. Where the last read() failed a new trace begins.
        """
        t = self.tracer
        b = t.next()
        if self.fault:
            if len(b) == 55:
                return b
            t._encrypt(t.block, t._random)  # a seqref's tracer has no whole context at hand
            put_hex(self._buf, 3, t.block, 0, 9, t.table)
            put_hex(self._buf, 21, t._random, 0, 7, t.table)
            self._buf[54] = 51 if t.sampled else 50
        put_hex(self._buf, 36, t.block, 1, 8, t.table)
        return self._buf


_MEMBER = b'\0{\0"traceparent"\0:\0"'  # \0: white space may stand here


def read_member(incoming, msg):
    """Have an Incoming read the traceparent that leads a JSON object, in place; return what its read() returns.

    msg: bytes, bytearray or memoryview. Allocates nothing. Source: docs/wire-format.md, "Carriers".
    """
    i = k = 0
    while k < len(_MEMBER):
        if _MEMBER[k] == 0:
            while i < len(msg) and msg[i] in b" \t\r\n":
                i += 1
        elif i < len(msg) and msg[i] == _MEMBER[k]:
            i += 1
        else:
            return incoming.read(None)
        k += 1
    k = i
    while k < len(msg) and msg[k] != 34:
        k += 1
    if k == len(msg):  # cut off: whether the value ended here cannot be seen
        return incoming.read(None)
    return incoming.read(msg, i, k)
