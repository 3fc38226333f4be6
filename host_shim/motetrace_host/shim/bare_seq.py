"""Which boot a bare seq belongs to, across redelivery and restarts of the shim.

`core.boots` decides by the numbers alone. It cannot know that the broker, after a reconnect, sends up to a receive
maximum of messages once more; the DUP flag marks them, and the ledger has those that were committed.

Why in ascending order: the broker repeats in the order it sent first, so a repeated message stands in the log behind
the one repeated before it. Without that, seq 1 of a new boot that was lost with the shim would be taken for the seq 1
of the boot before.

What looks the same:
* A device reboots, and the shim is killed after it was given the new boot's messages and before it stored any, with
  nothing of the old boot left to repeat: then the new ones count as deliveries of the old boot's.
* Two boots with the same numbers, both stored and both unacknowledged at a kill.
A seqref has no such doubts.
"""

from __future__ import annotations

import sqlite3

from motetrace_host.core.ledger import inferred_boots
from motetrace_host.core.ledger.inferred_boots import BootState
from motetrace_host.shim.batch_participant import BatchParticipant
from motetrace_host.shim.database_retry import RetryingReads
from motetrace_host.storage.boot_table import BootTable
from motetrace_host.storage.message_log import MessageLog

_MAX_REPEATED = 65_535
_MAX_DEVICES = 20_000  # states in memory; the ledger has all of them


class BareSeq(BatchParticipant):
    """Boot states of the devices that send a bare seq.

    What a reconnect repeats is looked for among the last 65,535 messages: there are no more packet ids. The receive
    maximum would be the tighter bound, but mosquitto 2.0.11 exceeds it.
    """

    def __init__(self, ledger: RetryingReads) -> None:
        self._ledger = ledger
        self._states: dict[str, BootState | None] = {}
        self._changed: set[str] = set()
        self._begun: dict[tuple[str, bytes], str] = {}
        # device and seq -> (order of arrival, boot nonce) of each, ascending
        self._recent: dict[tuple[str, int], list[tuple[int, bytes]]] = {}
        self._repeated: dict[str, int] = {}

    def connected(self, log: MessageLog) -> None:
        """A connection begins: what it repeats is among the last messages of the log."""
        self._recent.clear()
        self._repeated.clear()
        for order, (device_id, seq, boot_nonce) in enumerate(log.recent_inferred(_MAX_REPEATED), 1):
            self._recent.setdefault((device_id, seq), []).append((order, boot_nonce))

    def boot_nonce(self, device_id: str, seq: int, dup: bool, received_unix_ns: int, entropy5: bytes) -> bytes:
        """The nonce of the boot that this message belongs to; 5 random bytes become it if the boot is new."""
        if dup:
            goes_on = device_id in self._repeated
            after = self._repeated.get(device_id, 0)
            known = [one for one in self._recent.get((device_id, seq), ()) if one[0] > after]
            if known:
                # The first one repeated is the newest of its number: older boots were acknowledged long ago.
                order, boot_nonce = known[0] if goes_on else known[-1]
                self._repeated[device_id] = order
                return boot_nonce
            # Messages are committed in order: behind one that was not, none was.
            self._repeated[device_id] = _MAX_REPEATED
        known_state = device_id in self._states
        state = self._states[device_id] if known_state else self._load(device_id)
        self._states[device_id], sighting = inferred_boots.observe(state, seq, received_unix_ns, entropy5)
        self._changed.add(device_id)
        if sighting.new_boot:
            self._begun[device_id, sighting.boot_nonce] = sighting.why
        return sighting.boot_nonce

    def save(self, connection: sqlite3.Connection) -> None:
        """Write states, and by which rule boots began; those boots are in the ledger by then."""
        ledger, states = BootTable(connection), [(device_id, self._states[device_id]) for device_id in self._changed]
        ledger.keep_boot_states((device_id, inferred_boots.pack(state)) for device_id, state in states if state)
        ledger.keep_reasons((*boot, why) for boot, why in self._begun.items())

    def committed(self) -> None:
        self._changed.clear()
        self._begun.clear()
        if len(self._states) > _MAX_DEVICES:
            self._states.clear()

    def _load(self, device_id: str) -> BootState | None:
        packed = self._ledger.boot_state(device_id)
        try:
            return inferred_boots.unpack(packed) if packed is not None else None
        except ValueError:  # written by another version: begin anew
            return None
