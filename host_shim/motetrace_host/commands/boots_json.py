"""The report on devices for programs: JSON, one member for each boot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from motetrace_host.commands.boot_reports import BootReport
from motetrace_host.core.printable import printable
from motetrace_host.core.verdict.hop_status import SHIM
from motetrace_host.storage.side_tables import CloneRow


def as_json(
    shown: Sequence[BootReport],
    not_shown: int,
    rejections: Sequence[tuple[str, str, int]],
    clones: Mapping[str, CloneRow],
    now_unix_ms: int,
) -> str:
    """Write everything; times are Unix ms, what is not known is null."""
    document = {
        "now_unix_ms": now_unix_ms,
        "boots": [_boot(one, now_unix_ms) for one in shown],
        "not_shown": not_shown,
        "clones": [
            {"device_id": one.device_id, "boots": [one.older.hex(), one.newer.hex()], "times": one.times,
             "first_unix_ms": one.first_unix_ms, "last_unix_ms": one.last_unix_ms}
            for one in clones.values()
        ],
        "rejected": [{"device_id": device, "reason": why, "count": count} for device, why, count in rejections],
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def _boot(one: BootReport, now_unix_ms: int) -> dict[str, Any]:
    shim = one.states.get(SHIM)
    known: dict[str, Any] = {
        "device_id": one.device_id,
        "boot": one.boot_nonce.hex() if one.boot_nonce else None,
        "seen": one.seen,
        "twice": one.duplicates,
        "last_unix_ms": one.last_unix_ms,
    }
    if one.boot_nonce is None:
        return known
    boot = one.boot
    return known | {
        "inferred": one.inferred,
        "why": (boot.why or None) if boot else None,
        "firmware": printable(boot.firmware) if boot and boot.firmware else None,
        "interleaves": one.interleaves.hex() or None,
        "lost": one.lost,
        "waiting": one.waiting,
        "late": one.late,
        "forgotten": shim.forgotten if shim else 0,
        "lowest": shim.lowest if shim else None,
        "highest": shim.highest if shim else None,
        "first_unix_ms": shim.first_unix_ms if shim else None,
        "missing": [[run.start, run.end, "lost" if run.lost else "waiting"] for run in shim.missing_runs(now_unix_ms)]
        if shim
        else [],
        "failed": one.failed,
        "dropped": one.dropped,
        "stages": [stage._asdict() | {"lost_runs": [list(run) for run in stage.lost_runs]} for stage in one.stages],
        "stats": _stats(one),
    }


def _stats(one: BootReport) -> dict[str, Any] | None:
    if one.stats is None:
        return None
    said, heard_unix_ms = one.stats
    return {
        "heard_unix_ms": heard_unix_ms,
        "last_seq": said.last_seq,
        "acked": said.acked,
        "lost": said.lost,
        "pending": said.pending,
        "more_failed": said.more,
        "rtt_ms": said.rtt_ms,
        "free_bytes": said.free_bytes,
        "counters": dict(said.counters),
    }
