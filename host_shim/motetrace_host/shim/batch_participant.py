"""What takes part in the transaction of a batch: the one shape of everything that is written beside its messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from motetrace_host.core.ledger.store import SeenRuns


class BatchParticipant:
    """Holds in memory what the batch in work brought, until it is on disk.

    The journal asks for `runs`, calls `save` in the transaction, and `committed` when that has succeeded. When it
    fails, the same is asked again for the same batch: nothing may be let go before `committed`.
    """

    def runs(self) -> Sequence[SeenRuns]:
        """The numbers that the ledger is to merge."""
        return ()

    def save(self, connection: sqlite3.Connection) -> None:
        """Write everything else, inside the transaction."""

    def committed(self) -> None:
        """Let go of what is on disk now."""
