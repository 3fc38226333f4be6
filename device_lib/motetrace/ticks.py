"""The period of a clock that wraps."""

from motetrace import _port


def ticks_bits(clock=_port):
    """Return b where clock.ticks_ms() wraps at 2**b: the difference to 0 turns negative at half of it."""
    b = 1
    while clock.ticks_diff(1 << b, 0) > 0:
        b += 1
    return b + 1
