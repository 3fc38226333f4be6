"""Sampling as an operator wants it: the retained topic `sampling/desired`, applied."""

from motetrace import _port
from motetrace._json import JsonBuffer


def number(b):
    """Return (n, e) for a JSON number in bytes: n * 10**e, n of at most 9 digits, further ones cut off.

    Raises:
        ValueError, IndexError: it is none.
    """
    i = 1 if b[0] == 45 else 0
    zero = b[i] == 48
    n = e = 0
    point = -1
    start = i
    while i < len(b) and (48 <= b[i] <= 57 or b[i] == 46 and point < 0):
        if b[i] == 46:
            point = i
        elif n < 100000000:
            n = n * 10 + b[i] - 48
            e -= point >= 0
        else:
            e += point < 0
        i += 1
    # A digit before the point and one after it, and no 0 before others.
    if (i if point < 0 else point) == start or i == point + 1 or zero and (i if point < 0 else point) > start + 1:
        raise ValueError("json")
    if i < len(b):
        if b[i] not in b"eE":
            raise ValueError("json")
        i += 1
        down = b[i] == 45
        if down or b[i] == 43:
            i += 1
        if not 0 < len(b) - i < 5:
            raise ValueError("json")
        x = 0
        while i < len(b):
            if not 48 <= b[i] <= 57:
                raise ValueError("json")
            x = x * 10 + b[i] - 48
            i += 1
        e += -x if down else x
    return -n if b[0] == 45 else n, e


def _space(b, i):
    while i < len(b) and b[i] in b" \t\r\n":
        i += 1
    return i


def _string(b, i):
    # The offset after the string that begins at i.
    if b[i] != 34:
        raise ValueError("json")
    i += 1
    while b[i] != 34:
        if b[i] < 32:
            raise ValueError("json")
        if b[i] == 92:
            i += 1
            if b[i] not in b'"\\/bfnrtu':
                raise ValueError("json")
        i += 1
    return i + 1


def members(b):
    """Return {name: value}, both bytes as they stand in b: with escapes, values that are strings in their quotes.

    Raises:
        ValueError: "nested", "repeated" (a name), or "json".  IndexError: it ends too early.
    """
    out = {}
    i = _space(b, 0)
    if b[i] != 123:
        raise ValueError("json")
    i = _space(b, i + 1)
    if b[i] != 125:
        while True:
            j = _string(b, i)
            name = b[i + 1 : j - 1]
            i = _space(b, j)
            if b[i] != 58:
                raise ValueError("json")
            i = _space(b, i + 1)
            if b[i] in b"[{":
                raise ValueError("nested")
            if b[i] == 34:
                j = _string(b, i)
            else:
                j = i
                while b[j] not in b",} \t\r\n":
                    j += 1
                if b[i:j] not in (b"true", b"false", b"null"):
                    number(b[i:j])
            if name in out:
                raise ValueError("repeated")
            out[name] = b[i:j]
            i = _space(b, j)
            if b[i] == 125:
                break
            if b[i] != 44:
                raise ValueError("json")
            i = _space(b, i + 1)
    if _space(b, i + 1) < len(b):
        raise ValueError("json")
    return out


def _threshold(b):
    # For a rate: 0..1, or in quotes, or in quotes in percent.
    e = 0
    if b[0] == 34:
        b = b[1:-1]
        if b[-1] == 37:
            b = b[:-1]
            e = -2
    n, x = number(b)
    e += x
    # In units of 1e-8: what then is doubled stays a small int. The rest is far below the 1/65536 of a threshold.
    while n and e < -8:
        n //= 10
        e += 1
    while n and e > -8 and n <= 100000000:
        n *= 10
        e -= 1
    if not 0 <= n <= 100000000:
        raise ValueError
    k = 0
    e = 17
    while e:
        k = 2 * k + n // 100000000
        n = n % 100000000 * 2
        e -= 1
    return 65536 - k - n // 100000000


def _seconds(b):
    # Whole seconds, up to 30 days.
    n, e = number(b)
    while n and e > 0 and n <= 2592000:
        n *= 10
        e -= 1
    while n and e < 0 and not n % 10:
        n //= 10
        e += 1
    if n and e or not 0 <= n <= 2592000:
        raise ValueError
    return n


def desired(b):
    """Return (mode, threshold, seconds): mode off, on or inherit as bytes; threshold None: inherit; seconds 0: no end.

    Args:
        b: bytes, bytearray or memoryview; empty (a retained message that was deleted) is inherit.
    Raises:
        ValueError: its text is the reason: size, json, nested, repeated, mode, rate, for_s.
    Source: docs/device-messages.md, "sampling/desired".
    """
    if len(b) > 256:
        raise ValueError("size")
    b = bytes(b)
    if not b:
        return b"inherit", None, 0
    reason = "json"
    try:
        found = members(b)
        reason = "mode"
        mode = found[b"mode"]
        if mode not in (b'"off"', b'"on"', b'"inherit"'):
            raise ValueError
        mode = mode[1:-1]
        reason = "rate"
        threshold = found.get(b"rate", b"null")
        threshold = 0 if threshold == b"null" else _threshold(threshold)
        reason = "for_s"
        seconds = found.get(b"for_s", b"null")
        seconds = 0 if seconds == b"null" else _seconds(seconds)
    except (IndexError, KeyError):
        raise ValueError(reason)
    except ValueError as e:
        raise ValueError(reason if reason != "json" else e.args[0])
    if mode == b"inherit":
        return mode, None, 0
    return mode, threshold if mode == b"on" else 65536, seconds


class Countdown:
    """Not running while left_s is 0; nothing here allocates."""

    def __init__(self, clock):
        self._clock = clock
        self.left_s = 0

    def start(self, seconds):
        """Begin anew; 0 stops it."""
        self.left_s = seconds
        self._ms = 0
        self._last = self._clock.ticks_ms()

    def over(self):
        """Let time pass; return True once, when it is up. To be called more often than every half tick period."""
        if not self.left_s:
            return False
        now = self._clock.ticks_ms()
        ms = self._clock.ticks_diff(now, self._last)
        self._last = now
        self._ms += ms
        self.left_s -= self._ms // 1000
        self._ms %= 1000
        if self.left_s > 0 and ms >= 0:  # less than nothing: half a tick period or more went by
            return False
        self.left_s = 0
        return True


class Sampling:
    """Sets the tracer's threshold for as long as it was asked to, by the device's own ticks; never raises.

    Attributes:
        configured: the threshold to go back to: the tracer's at construction.
        mode: off, on or inherit (bytes), what is in force.  time.left_s: for how long yet, 0: no end.
        result: boot, applied, expired, or why the last message was refused: size, json, nested, repeated, mode, rate,
            for_s.
        refused: how many were.
        new: reported() says something that was not published yet; to be set to False when it was.
    """

    def __init__(self, tracer, clock=_port):
        self.tracer = tracer
        self.mode = b"inherit"
        self.result = "boot"
        self.refused = 0
        self.time = Countdown(clock)
        self._json = JsonBuffer(190)
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
