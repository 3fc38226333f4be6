"""What a hop reports to the ledger: runs of numbers of one boot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Delta(NamedTuple):
    """Numbers of one boot that one hop saw.

    Args:
        device_id: UTF-8, 1..255 bytes; '' for a hop that knows only the boot.
        boot_nonce: 5 bytes.
        hop: A name: `shim`, `rule`, `rule.filtered`, ...
        runs: (start, end), 0..2**32-1, inclusive, added one after the other: a number in two of them is a duplicate.
        at_unix_ms: When they were seen, 0..2**53-1.
        expected_first: The number this boot is known to have begun with (1 for our own devices, when their birth was
            heard as it happened); what is missing from there to the first number seen then counts as a gap.
    """

    device_id: str
    boot_nonce: bytes
    hop: str
    runs: Sequence[tuple[int, int]]
    at_unix_ms: int
    expected_first: int | None = None
