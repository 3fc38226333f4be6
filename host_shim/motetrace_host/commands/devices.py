"""`motetrace devices`: per device and boot what was seen, what came twice, what is missing, and where; as a table."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from motetrace_host.cluster.shared_ledger import LedgerAddress
from motetrace_host.commands import device_detail, verdict_text
from motetrace_host.commands.boot_reports import BootReport, facts_of, gather
from motetrace_host.commands.state_folder import opened, second, seen_store, shared_where
from motetrace_host.commands.table import table
from motetrace_host.commands.verdict_text import SPANS
from motetrace_host.core.printable import printable
from motetrace_host.core.verdict.hop_status import SHIM
from motetrace_host.storage.side_tables import CLONES, REJECTIONS, CloneRow

SORTS: Final[Mapping[str, Callable[[BootReport], Any]]] = {
    "lost": lambda report: (-report.lost_anywhere, -report.last_unix_ms),
    "latest": lambda report: -report.last_unix_ms,
    "seen": lambda report: -report.seen,
    "device": lambda report: (report.device_id, report.last_unix_ms),
}
LIMIT: Final = 50
_MAX_NAME: Final = 24
_INFERRED: Final = "~"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown.

    Attributes:
        device_id: of this device in detail; None: all, as a table.
        lost: boots with losses only. sort: one of `SORTS`. limit: so many boots; 0: all.
        as_json: for a program; all boots, unless a limit is named.
    """

    device_id: str | None = None
    lost: bool = False
    sort: str = "lost"
    limit: int = LIMIT
    as_json: bool = False


def report(folder: Path, wanted: Wanted | None = None) -> tuple[str, int]:
    """Tell about all devices, or one.

    Returns:
        The text, and the exit code: 0, or 1 when nothing is known.
    Raises:
        OperatorError: no database.
    """
    wanted = wanted or Wanted()
    now_unix_ms = time.time_ns() // 1_000_000
    with opened(folder) as connection:
        found = gather(connection, seen_store(connection), now_unix_ms, wanted.device_id)
        shared = shared_where(connection)
        rejections = REJECTIONS.read(connection, wanted.device_id)
        clones = {row.device_id: row for row in CLONES.read(connection, wanted.device_id)}
        without_number = facts_of(connection, now_unix_ms).unnumbered
        unnumbered = [f"! at {SPANS[hop]}, {verdict_text.unnumbered(one)}" for hop, one in without_number.items()]
        if not found and not rejections:
            name = wanted.device_id
            return ("Nothing was seen yet.\n" if name is None else f"{printable(name)}: nothing was seen.\n"), 1
        chosen = [one for one in found if one.lost_anywhere] if wanted.lost else found
        if wanted.device_id is not None and not wanted.as_json:
            lines = device_detail.lines(
                connection, wanted.device_id, chosen, rejections, clones, now_unix_ms, wanted.limit
            )
            return "\n".join([*lines, *_of_whom(shared)]) + "\n", 0
    chosen = sorted(chosen, key=SORTS[wanted.sort])
    shown = chosen[: wanted.limit] if wanted.limit else chosen
    if wanted.as_json:
        return as_json(shown, len(chosen) - len(shown), rejections, clones, now_unix_ms), 0
    return "\n".join([*_lines(shown, chosen, found, rejections, clones), *unnumbered, *_of_whom(shared)]) + "\n", 0


def _of_whom(shared: LedgerAddress | None) -> list[str]:
    """Which of it all shims of a group saw, and which this one."""
    if shared is None:
        return []
    return ["", f"Boots as all shims on {shared.url} saw them; rejections, and rows without a boot, of this one."]


def _lines(
    shown: Sequence[BootReport],
    chosen: Sequence[BootReport],
    found: Sequence[BootReport],
    rejections: Sequence[tuple[str, str, int]],
    clones: Mapping[str, CloneRow],
) -> Iterator[str]:
    if shown:
        yield from _boots(shown)
    elif found:
        yield f"No losses in {len(found)} boots."
    if len(chosen) > len(shown):
        rest = chosen[len(shown) :]
        lost = sum(one.lost_anywhere for one in rest)
        yield f"... and {len(rest)} boots more, with {lost} losses in all (--all shows them, --lost those with losses)"
    yield from _stages(shown)
    yield from _notes(found, clones)
    yield from _rejected(rejections)


def _boots(shown: Sequence[BootReport]) -> Iterator[str]:
    """The main table; columns that would be 0 everywhere are left out."""
    columns: list[tuple[str, Callable[[BootReport], str]]] = [
        ("device", lambda one: printable(one.device_id, _MAX_NAME)),
        ("boot", _boot),
        ("seen", lambda one: str(one.seen)),
        ("twice", lambda one: str(one.duplicates)),
        ("lost", lambda one: _numbered(one, one.lost)),
        ("waiting", lambda one: _numbered(one, one.waiting)),
        ("late", lambda one: _numbered(one, one.late)),
    ]
    if any(one.failed for one in shown):
        columns.append(("unsent", lambda one: _numbered(one, one.failed)))
    if any(one.dropped for one in shown):
        columns.append(("dropped", lambda one: _numbered(one, one.dropped)))
    columns.append(("last seen", lambda one: second(one.last_unix_ms)))
    rows = [[heading for heading, _ in columns], *([cell(one) for _, cell in columns] for one in shown)]
    yield from table(rows, (0, 1, len(columns) - 1))


def _boot(one: BootReport) -> str:
    if one.boot_nonce is None:
        return "-"
    return one.boot_nonce.hex() + (_INFERRED if one.inferred else "")


def _numbered(one: BootReport, number: int) -> str:
    return str(number) if one.boot_nonce is not None else "-"


def _stages(shown: Sequence[BootReport]) -> Iterator[str]:
    """What the stages saw of the boots of which something was filtered, failed or lost there."""
    reporting = {stage.hop for one in shown for stage in one.stages}
    if not reporting:
        return
    headings = ("device", "boot", "hop", "seen", "filtered", "failed", "lost", "waiting", "unsure", "up to")
    rows: list[tuple[str, ...]] = [headings]
    for one in shown:
        if any(stage[2:7] != (0, 0, 0, 0, 0) for stage in one.stages):
            name, boot = printable(one.device_id, _MAX_NAME), _boot(one)
            for stage in one.stages:
                upto = "-" if stage.highest is None else str(stage.highest)
                rows.append((name, boot, stage.hop, *(str(number) for number in stage[1:7]), upto))
                name = boot = ""
    yield ""
    if len(rows) == 1:
        yield f"behind the shim: nothing filtered, failed or lost at {', '.join(sorted(reporting))}"
        return
    yield "behind the shim:"
    yield from table(rows, (0, 1, 2))


def _notes(found: Sequence[BootReport], clones: Mapping[str, CloneRow]) -> Iterator[str]:
    """What somebody should do something about, of all devices."""
    notes = []
    if any(one.inferred for one in found):
        notes.append(f"{_INFERRED} the host inferred this boot from a bare seq (docs/ledger.md)")
    suspicious = [one for one in found if one.interleaves]
    notes += [f"! {device_detail.interleaved(one)}" for one in suspicious[:5]]
    if len(suspicious) > 5:
        notes.append(f"! and {len(suspicious) - 5} more such boots (--json names them)")
    told = sorted(clones.values(), key=lambda clone: -clone.last_unix_ms)
    notes += [f"! {device_detail.cloned(clone)}" for clone in told[:5]]
    if len(told) > 5:
        notes.append(f"! and {len(told) - 5} more such device ids (--json names them)")
    if notes:
        yield from ("", *notes)


def _rejected(rejections: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    if not rejections:
        return
    yield ""
    yield "rejected:"
    most = sorted(rejections, key=lambda row: -row[2])
    shown = [(printable(device, _MAX_NAME) or "(no device)", str(count), why) for device, why, count in most[:LIMIT]]
    yield from table(shown, (0, 2))
    if len(most) > LIMIT:
        rest: Counter[str] = Counter()
        for _, why, count in most[LIMIT:]:
            rest[why] += count
        told = ", ".join(f"{count} {why}" for why, count in rest.most_common(5))
        yield f"... and of {len(most) - LIMIT} more: {told}"


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
        "boots": [_boot_json(one, now_unix_ms) for one in shown],
        "not_shown": not_shown,
        "clones": [
            {"device_id": one.device_id, "boots": [one.older.hex(), one.newer.hex()], "times": one.times,
             "first_unix_ms": one.first_unix_ms, "last_unix_ms": one.last_unix_ms}
            for one in clones.values()
        ],
        "rejected": [{"device_id": device, "reason": why, "count": count} for device, why, count in rejections],
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def _boot_json(one: BootReport, now_unix_ms: int) -> dict[str, Any]:
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
        "stats": _stats_json(one),
    }


def _stats_json(one: BootReport) -> dict[str, Any] | None:
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
