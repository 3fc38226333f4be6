"""A context in your own buffer, for HTTP, CoAP, LoRa, UART: as text, or as bytes of half the size; no heap."""

from struct import pack_into
from sys import implementation

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
