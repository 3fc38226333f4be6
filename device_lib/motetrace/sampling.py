"""Sampling as an operator wants it: the retained topic `sampling/desired`, applied."""

from motetrace import _port
from motetrace.desired import desired
from motetrace.sampling_state import SamplingState


class Sampling(SamplingState):
    """Sets the tracer's threshold for as long as it was asked to, by the device's own ticks; never raises.

    Attributes:
        configured: the threshold to go back to: the tracer's at construction.
        new: reported() says something that was not published yet; to be set to False when it was.
        refused, and more: see `sampling_state`.
    """

    def __init__(self, tracer, clock=_port):
        super().__init__(tracer, clock)
        self.configured = tracer.threshold
        self.new = False
        self._wanted = None

    def desired(self, msg, retained=False):
        """Take in a message of `sampling/desired`; one that is wrong is counted and changes nothing.

        Args:
            msg: bytes, bytearray, memoryview or str.
            retained: the client says that it is a stored one. At each reconnection the broker sends that again: its
                time does not begin anew then. A client that does not say so (umqtt.simple): it does.
        """
        try:
            wanted = desired(msg.encode() if isinstance(msg, str) else msg)
        except Exception as e:  # also what no reader of bytes expects: None, a number, no memory left
            self.result = e.args[0] if isinstance(e, ValueError) and len(e.args) == 1 else "json"
            self.refused += 1
            self.new = True
            return
        if not retained or wanted != self._wanted:
            self._wanted = wanted
            self._apply("applied", wanted)

    def _apply(self, result, wanted):
        self.result = result
        self.mode, threshold, seconds = wanted
        self.tracer.threshold = self.configured if threshold is None else threshold
        self.time.start(seconds)
        self.new = True

    def poll(self):
        """Let time pass; return whether there is something to report. At least once in 3 days; allocates nothing."""
        if self.time.over():
            self._apply("expired", (b"inherit", None, 0))
        return self.new
