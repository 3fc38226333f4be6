"""What the carriers for clients that take one object have in common: some bytes put into a payload at an offset."""

import io


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
