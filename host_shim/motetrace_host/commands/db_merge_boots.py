"""`motetrace db merge-boots`: two boots that were inferred of one are made one again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from motetrace_host.commands.db_compact import alone
from motetrace_host.commands.state_folder import opened
from motetrace_host.core.errors import OperatorError
from motetrace_host.core.ledger import boot_merge, inferred_boots
from motetrace_host.core.printable import printable
from motetrace_host.core.verdict.hop_status import SHIM
from motetrace_host.storage import boot_rename, database
from motetrace_host.storage.boot_rename import BootMerge
from motetrace_host.storage.boot_table import Boot, BootTable
from motetrace_host.storage.sqlite_ledger import SqliteLedger


def report(folder: Path, device_id: str, one: bytes, other: bytes) -> tuple[str, int]:
    """Merge two boots of a device: the one seen first stays, the other's numbers and messages become its own.

    Returns:
        The text, and the exit code 0.
    Raises:
        OperatorError: no database, a shim runs on it, no such inferred boots, or they cannot be one; nothing has
            changed.
    """
    with opened(folder) as connection, alone(folder):
        kept, gone = _inferred(connection, device_id, one, other)
        store = SqliteLedger(connection)
        older = {row.hop: row.seen for row in store.read(device_id, kept.boot_nonce)}
        newer = {row.hop: row.seen for row in store.read(device_id, gone.boot_nonce)}
        if SHIM not in older or SHIM not in newer:
            raise OperatorError("of one of them no numbers are known any more: nothing is left to merge")
        names = BootMerge(device_id, kept.boot_nonce, gone.boot_nonce)
        try:
            with database.transaction(connection):
                store.fold()
                boot_rename.states(connection, names)
                moved, repeated = boot_rename.messages(connection, names, older[SHIM])
                boot_rename.boot(connection, names)
                _remember(connection, names)
        except ValueError as error:
            raise OperatorError(f"{kept.boot_nonce.hex()} and {gone.boot_nonce.hex()}: {error}") from error
        (after,) = [row.seen for row in store.read(device_id, kept.boot_nonce) if row.hop == SHIM]
    return (
        f"{printable(device_id)}: boot {gone.boot_nonce.hex()} is part of {kept.boot_nonce.hex()} now: "
        f"{after.lowest}..{after.highest}, {after.count} seen\n"
        f"  {moved + repeated} messages in the log, {repeated} of them delivered again: each counts once\n"
        "  traces that were sent keep their ids, which name the boot as it was\n"
    ), 0


def _inferred(connection: sqlite3.Connection, device_id: str, one: bytes, other: bytes) -> tuple[Boot, Boot]:
    """The two boots, the one seen first in front."""
    if one == other:
        raise OperatorError(f"{one.hex()} twice: name two boots")
    known = {boot.boot_nonce: boot for boot in BootTable(connection).boots(device_id) if boot.inferred}
    missing = [nonce.hex() for nonce in (one, other) if nonce not in known]
    if missing:
        told = ", ".join(nonce.hex() for nonce in known) or "none"
        raise OperatorError(
            f"{printable(device_id)} has no inferred boot {' or '.join(missing)}; it has {told}. Boots that a device "
            "names itself are never wrong, and are not merged"
        )
    found = sorted((known[one], known[other]), key=lambda boot: boot.first_seen_unix_ns)
    return found[0], found[1]


def _remember(connection: sqlite3.Connection, names: BootMerge) -> None:
    """What the inference goes on with."""
    ledger, (device_id, kept, gone) = BootTable(connection), names
    packed = ledger.boot_state(device_id)
    if packed is None:
        return
    (both,) = [row.seen for row in SqliteLedger(connection).read(device_id, kept) if row.hop == SHIM]
    state = boot_merge.merged_state(inferred_boots.unpack(packed), kept, gone, both)
    ledger.keep_boot_states([(device_id, inferred_boots.pack(state))])
