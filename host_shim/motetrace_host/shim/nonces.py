"""Boot nonces that contradict the birth messages of devices: forged or copied contexts, relays, and lost births.

A device that publishes birth messages announces each of its boots. Messages under a nonce that it never announced are
another sender's, or its birth was lost; one nonce under two device ids is a context that was copied, or a relay that
speaks for others. Both are counted and logged, and change nothing else: what is believed is a setting
(`--trust`). Looked at once per boot, never per message.

What is not noticed:
* a nonce of a device that never published a birth;
* two device ids of which one sent nothing since this shim began;
* a boot first seen less than GRACE_NS before the shim was killed, when it stays down for longer than that.
"""

from __future__ import annotations

from typing import Final

from motetrace_host.core.printable import printable
from motetrace_host.shim.births import Births
from motetrace_host.shim.counters import Counters
from motetrace_host.shim.database_retry import RetryingReads
from motetrace_host.shim.logging import Log

GRACE_NS: Final = 30 * 10**9
"""How long a birth may take: it can come behind the readings, from another queue of the broker."""
MAX_OWNERS: Final = 100_000
MAX_WATCHED: Final = 20_000
NEVER: Final = 2**63
_LOOKS: Final = 200  # at boots in one call: each may ask the ledger

UNBORN: Final = "nonce_unborn"
SHARED: Final = "nonce_shared"
UNWATCHED: Final = "nonce_unwatched"
NOTICES: Final = {
    UNBORN: "no birth message named this boot: forged or copied ids, or a birth that was lost; see docs/trust.md",
    SHARED: "two device ids send under one boot nonce: a copied context, a cloned device or a relay; see docs/trust.md",
}


class Nonces:
    """Watches the nonces of structured ids, seqrefs and births.

    Attributes:
        due_unix_ns: `look` has nothing to do before that.
    """

    def __init__(self, births: Births, ledger: RetryingReads, counters: Counters, log: Log) -> None:
        self._births = births
        self._ledger = ledger
        self._counters = counters
        self._log = log
        self._owners: dict[bytes, str] = {}
        self._shared: set[tuple[str, bytes]] = set()
        self._watched: dict[tuple[str, bytes], int] = {}
        self.due_unix_ns = NEVER

    def announced(self, device_id: str, boot_nonce: bytes) -> None:
        """A birth came."""
        self._watched.pop((device_id, boot_nonce), None)
        self._compare_owner(device_id, boot_nonce)

    def meet(self, device_id: str, boot_nonce: bytes, received_unix_ns: int) -> None:
        """A boot is seen for the first time, or again after it was forgotten here (by a restart, for one)."""
        self._compare_owner(device_id, boot_nonce)
        if self._births.born(device_id, boot_nonce):  # asked first: mostly known without the ledger
            return
        first_seen = self._ledger.first_seen(device_id, boot_nonce)
        since = received_unix_ns if first_seen is None else first_seen
        if received_unix_ns - since >= GRACE_NS:  # it was watched when it was new
            return
        if len(self._watched) >= MAX_WATCHED:
            self._counters.reject("", UNWATCHED)
            return
        self._watched[device_id, boot_nonce] = since
        self.due_unix_ns = min(self.due_unix_ns, since + GRACE_NS)

    def look(self, now_unix_ns: int) -> None:
        """Decide about the boots whose time is up."""
        looks = 0
        while self._watched and looks < _LOOKS:
            (device_id, boot_nonce), since = next(iter(self._watched.items()))
            if since + GRACE_NS > now_unix_ns:
                break
            del self._watched[device_id, boot_nonce]
            looks += 1
            if self._births.born(device_id, None) and not self._births.born(device_id, boot_nonce):
                self._notice(UNBORN, device_id, boot_nonce)
        self.due_unix_ns = next(iter(self._watched.values())) + GRACE_NS if self._watched else NEVER

    def _compare_owner(self, device_id: str, boot_nonce: bytes) -> None:
        """Notice a second device under a nonce."""
        if len(self._owners) >= MAX_OWNERS and boot_nonce not in self._owners:
            del self._owners[next(iter(self._owners))]
        owner = self._owners.setdefault(boot_nonce, device_id)
        if owner == device_id or (device_id, boot_nonce) in self._shared:
            return
        if self._ledger.first_seen(device_id, boot_nonce) is not None:  # it was compared when it was new
            return
        if len(self._shared) >= MAX_WATCHED:
            self._shared.clear()
        self._shared.add((device_id, boot_nonce))
        self._notice(SHARED, device_id, boot_nonce, other_device=printable(owner))

    def _notice(self, reason: str, device_id: str, boot_nonce: bytes, **other: str) -> None:
        """Count and log one; once per boot."""
        self._counters.reject(device_id, reason)
        fields = {"device.id": printable(device_id), "boot": boot_nonce.hex(), **other}
        self._log.warning(reason, **fields, remedy=NOTICES[reason])
