"""A store of ledger states: `storage/sqlite_ledger.py` for one shim, `cluster/redis_ledger.py` for several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from motetrace_host.core.ledger.delta import Delta
from motetrace_host.core.ledger.seen_numbers import Runs, Seen


class SeenRow(NamedTuple):
    """One state and whose it is."""

    device_id: str
    boot_nonce: bytes
    hop: str
    seen: Seen


class SeenStore(Protocol):
    """Ledger states by (device id, boot nonce, hop). Both stores pass tests/host/ledger/test_seen_stores.py."""

    def merge(self, batch_id: int, deltas: Sequence[Delta]) -> list[Runs]:
        """Add the runs of a batch to the states.

        Args:
            batch_id: 0..2**53-1, rising with each new batch of this process; the same one again when the outcome of the
                last call is not known.
            deltas: Any number, several for one state too; they are added in order.
        Returns:
            For each delta the runs that had been seen before; () almost always.
        Raises:
            StoreError: nothing was kept, or it is not known whether it was; `retry` says whether to ask again.
            ValueError: a number of a delta is out of range; nothing was kept.
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
