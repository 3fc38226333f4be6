"""A store of ledger states: `storage/sqlite_ledger.py` for one shim, `cluster/redis_ledger.py` for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from motetrace_host.core.ledger.runs import Run, Runs
from motetrace_host.core.ledger.seen_numbers import SeenNumbers


class SeenRuns(NamedTuple):
    """Numbers of one boot that one hop saw.

    Args:
        device_id: UTF-8, 1..255 bytes; '' for a hop that has only the boot.
        boot_nonce: 5 bytes.
        hop: A name: `shim`, `rule`, `rule.filtered`, ...
        runs: (start, end), 0..2**32-1, inclusive, added one after the other: a number in two of them is a duplicate.
        at_unix_ms: When they were seen, 0..2**53-1.
        expected_first: The number this boot is known to have begun with (1 for our own devices, when their birth
            message came as it happened); what is missing from there to the first number seen then counts as a gap.
    """

    device_id: str
    boot_nonce: bytes
    hop: str
    runs: Sequence[Run]
    at_unix_ms: int
    expected_first: int | None = None


class SeenRow(NamedTuple):
    """One state, with its device, boot and hop."""

    device_id: str
    boot_nonce: bytes
    hop: str
    seen: SeenNumbers


class SeenStore(Protocol):
    """Ledger states by (device id, boot nonce, hop). Both stores pass tests/host/ledger/test_seen_stores.py."""

    def merge(self, batch_id: int, seen_runs: Sequence[SeenRuns]) -> list[Runs]:
        """Add the runs of a batch to the states.

        Args:
            batch_id: 0..2**53-1, rising with each new batch of this process; the same one again when the outcome of the
                last call is not known.
            seen_runs: Any number, several for one state too; they are added in order.
        Returns:
            For each of them the runs that had been seen before; () almost always.
        Raises:
            StoreError: nothing was kept, or it is not known whether it was; `retry` says whether to ask again.
            ValueError: a number is out of range; nothing was kept.
        """
        ...

    def read(self, device_id: str | None = None, boot_nonce: bytes | None = None) -> list[SeenRow]:
        """The states, all or those of one device or one boot, ordered by device id, boot nonce and hop."""
        ...

    def forget_before(self, last_unix_ms: int, limit: int = 2_000) -> int:
        """Delete the boots of which no hop saw anything since a time, oldest first; how many went.

        At most `limit` in one call: call again while it returns `limit`. A boot whose messages come after it was
        forgotten begins anew, and what comes again of it counts as new.
        """
        ...

    def forget_cache(self) -> None:
        """Forget what is held in memory: the transaction of the last `merge` was rolled back."""
        ...
