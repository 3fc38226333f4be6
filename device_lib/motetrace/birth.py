"""The birth message: said once per boot, retained, so that what is the same for a whole boot costs no byte later."""

from motetrace import _port
from motetrace.json_buffer import JsonBuffer
from motetrace.json_text import put_text
from motetrace.ticks import ticks_bits


def birth(tracer, firmware="", baggage=None, reset="", boot=None, expiry_s=0, size=512, clock=_port):
    """Return the JSON of `motetrace/<device>/birth`, to be published retained at QoS 1 after connecting; allocates.

    Args:
        firmware: version of the application, up to 64 characters, shown as device.firmware.
        baggage: dict that the host attaches to every trace of this boot: at most 64, names and values by str().
        reset: why this boot happened, a name from `reset_cause`.  boot: BootCount.count, None: not kept.
        expiry_s: message expiry that readings are published with, 0: none.
        size: of the buffer it is built in, at most 4096.  clock: the tracer's, where that is not the default.
    Raises:
        ValueError: it does not fit, or a limit is exceeded. Call it once while developing and it never will.
    Source: docs/device-messages.md, "birth".
    """
    if len(firmware) > 64 or size > 4096 or baggage and len(baggage) > 64:
        raise ValueError("firmware: up to 64 characters; size: up to 4096; baggage: up to 64")
    j = JsonBuffer(size)
    j.start(tracer)
    j.raw(b',"mode":')
    put_text(j, tracer.mode)
    j.member(b"threshold", tracer.threshold)
    j.member(b"ticks_bits", ticks_bits(clock))
    if boot is not None:
        j.member(b"boot", boot)
    if expiry_s:
        j.member(b"expiry_s", expiry_s)
    if reset:
        j.raw(b',"reset":')
        put_text(j, reset)
    if firmware:
        j.raw(b',"fw":')
        put_text(j, firmware)
    if baggage:
        c = b',"baggage":{'
        for name in baggage:
            j.raw(c)
            c = b","
            put_text(j, str(name))
            j.byte(58)
            put_text(j, str(baggage[name]))
        j.byte(125)
    j.byte(125)
    if j.full:
        raise ValueError("birth: over %d bytes, shorten baggage or size=..4096" % size)
    return bytes(j.view())
