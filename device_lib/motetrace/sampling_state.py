"""The sampling that is in force on this device, and the message that tells it."""

from motetrace.countdown import Countdown
from motetrace.json_buffer import JsonBuffer


class SamplingState:
    """What `sampling` sets.

    Attributes:
        mode: off, on or inherit (bytes), what is in force.  time.left_s: for how long yet, 0: no end.
        result: boot, applied, expired, or why the last message was refused: size, json, nested, repeated, mode, rate,
            for_s.
        refused: how many were.
    """

    def __init__(self, tracer, clock):
        self.tracer = tracer
        self.mode = b"inherit"
        self.result = "boot"
        self.refused = 0
        self.time = Countdown(clock)
        self._json = JsonBuffer(190)

    def reported(self):
        """Return the JSON for `sampling/reported`, to be published retained, in a buffer that the next call overwrites.

        Source: docs/device-messages.md, "sampling/reported".
        """
        j = self._json
        j.start(self.tracer)
        j.raw(b',"mode":"')
        j.raw(self.mode)
        j.raw(b'","result":"')
        j.raw(self.result.encode())
        j.byte(34)
        j.member(b"threshold", self.tracer.threshold)
        j.member(b"left_s", self.time.left_s)
        j.member(b"refused", self.refused)
        j.byte(125)
        return j.view()
