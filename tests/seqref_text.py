"""A seqref as our devices write it; the host only reads them."""

from motetrace_host.core.wire.seqref import Seqref


def format_seqref(ref: Seqref) -> str:
    """22 characters, or 30 with an age (31 when it needs 8 digits), lower case; only flags 1 and 2 are written."""
    text = f"{ref.boot_nonce.hex()}-{ref.seq:08x}-{ref.flags & 3:02x}"
    return text if ref.age_ms is None else f"{text}-{ref.age_ms:07x}"
