"""What an operator wants of a device's sampling: the message of `sampling/desired`, read with suspicion."""

from motetrace.flat_json import members
from motetrace.json_number import number

MAX_BYTES = 256
MAX_FOR_S = 2592000  # 30 days


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
    n, e = number(b)
    while n and e > 0 and n <= MAX_FOR_S:
        n *= 10
        e -= 1
    while n and e < 0 and not n % 10:
        n //= 10
        e += 1
    if n and e or not 0 <= n <= MAX_FOR_S:
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
    if len(b) > MAX_BYTES:
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
